"""Our HTTP client understands every way of ending a body, however its bytes were cut, and refuses what is not HTTP."""

import asyncio
import gzip
import socket
import struct
import zlib

import pytest

from headgate_inference.adapters.http_client import HttpTransport
from headgate_inference.adapters.transport import Disconnected, Target, TransportError, Unreachable
from headgate_testing.raw_server import Handle, RawPeer, RawServer

BODY = b'{"an": "answer of some length"}'
CONSTANT = {"Content-Type": "application/json", "Authorization": "Bearer sk-test"}
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Thing: one\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\n"
    + BODY[:5]
    + b"\r\n"
    + b"%x;ext=1\r\n" % len(BODY[5:])
    + BODY[5:]
    + b"\r\n0\r\nX-Trailer: t\r\n\r\n"
)
CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + BODY


pytestmark = pytest.mark.usefixtures("transport")


def target_of(server: RawServer) -> Target:
    return Target.of(f"http://127.0.0.1:{server.port}/v1/x?q=1", CONSTANT, 3.0)


async def whole(transport: HttpTransport, target: Target, body: bytes = b"{}") -> tuple[int, bytes]:
    reply = await transport.post(target, {"x-request-id": "r"}, body)
    data = b""
    while piece := await reply.read():
        data += piece
    return reply.status, data


def answering(*pieces: bytes) -> Handle:
    """Every request is answered by these pieces."""

    async def handle(peer: RawPeer) -> None:
        while await peer.request():
            await peer.send(*pieces)

    return handle


def once(*pieces: bytes) -> Handle:
    """The first request of each connection is answered by these pieces, then the connection is closed."""

    async def handle(peer: RawPeer) -> None:
        if await peer.request():
            await peer.send(*pieces)

    return handle


async def test_a_request_is_what_was_asked_for_in_one_piece(transport: HttpTransport) -> None:
    seen: list[bytes] = []

    async def handle(peer: RawPeer) -> None:
        while request := await peer.request():
            seen.append(request)
            await peer.send(WHOLE)

    async with RawServer(handle) as server:
        target = target_of(server)
        reply = await transport.post(target, {"x-request-id": "r"}, b"{}")
        assert (reply.status, reply.header("x-thing"), reply.header("X-None")) == (200, "one", "")
        assert await reply.read() == BODY
        assert await reply.read() == b""
        await whole(transport, Target.of(str(target.url), CONSTANT, 3.0), b"")
        reply = await transport.post(target, {"AUTHORIZATION": "own", "x-request-id": "é"}, b"{}")
        port = server.port
    assert seen == [
        b"POST /v1/x?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer sk-test\r\nx-request-id: r\r\nContent-Length: 2\r\n\r\n{}" % port,
        b"POST /v1/x?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer sk-test\r\nx-request-id: r\r\nContent-Length: 0\r\n\r\n" % port,
        b"POST /v1/x?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"AUTHORIZATION: own\r\nx-request-id: %b\r\nContent-Length: 2\r\n\r\n{}" % (port, "é".encode()),
    ]


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://h", b"POST / HTTP/1.1\r\nHost: h\r\n"),
        ("https://h:443/a b?c=d e#f", b"POST /a%20b?c=d+e HTTP/1.1\r\nHost: h\r\n"),
        ("http://[::1]:8080/x", b"POST /x HTTP/1.1\r\nHost: [::1]:8080\r\n"),
        ("http://bücher.example/é", b"POST /%C3%A9 HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n"),
        ("http://me:pa%20ss@h/x", b"POST /x HTTP/1.1\r\nHost: h\r\nAuthorization: Basic bWU6cGEgc3M=\r\n"),
        ("http://h/%0d%0aX:%20y", b"POST /%0D%0AX:%20y HTTP/1.1\r\nHost: h\r\n"),
    ],
)
def test_a_url_becomes_a_request_line_and_a_host(url: str, start: bytes) -> None:
    assert Target.of(url, {}, 1.0).template.request({}, b"") == start + b"Content-Length: 0\r\n\r\n"


def test_percent_signs_and_values_that_change_are_sent_as_they_are() -> None:
    template = Target.of("http://h/%25", {"a%b": "%b", "keep": "100%"}, 1.0).template
    for value in ("%d", "%%", "x"):
        assert template.request({"%s": value, "A%B": value}, b"%b%") == (
            b"POST /%25 HTTP/1.1\r\nHost: h\r\nkeep: 100%\r\n"
            + f"%s: {value}\r\nA%B: {value}\r\n".encode()
            + b"Content-Length: 3\r\n\r\n%b%"
        )
    with pytest.raises(ValueError, match="twice"):
        template.request({"x": "1", "X": "2"}, b"")


@pytest.mark.parametrize(
    "url", ["ftp://h/", "h:1", "http://", "/x", "http://h:0/", "http://h:99999/", "http://["]
)
def test_what_is_not_an_http_url_is_no_target(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Target.of(url, {}, 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nb: c"), ("X", "a\nb"), ("X", "a\0b"), ("X\r\nY", "a"), ("X Y", "a"), ("", "a"), ("X:", "a")]
    + [(name, "5") for name in ("content-length", "Transfer-Encoding", "HOST", "Connection")],
)
async def test_a_header_that_would_split_or_reframe_the_request_is_refused(
    transport: HttpTransport, name: str, value: str
) -> None:
    with pytest.raises(ValueError, match=r"header"):
        Target.of("http://h/", {name: value}, 1.0)
    async with RawServer(answering(WHOLE)) as server:
        with pytest.raises(TransportError):
            await transport.post(target_of(server), {name: value}, b"")
        assert server.connections == 0


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED], ids=["length", "chunked"])
async def test_one_connection_serves_requests_one_after_the_other(
    transport: HttpTransport, answer: bytes
) -> None:
    async with RawServer(answering(answer)) as server:
        for _ in range(5):
            assert await whole(transport, target_of(server)) == (200, BODY)
        assert server.connections == 1


async def test_requests_at_the_same_time_have_a_connection_each_and_it_is_kept(
    transport: HttpTransport,
) -> None:
    async with RawServer(answering(WHOLE)) as server:
        for _ in range(3):
            got = await asyncio.gather(*(whole(transport, target_of(server)) for _ in range(8)))
            assert got == [(200, BODY)] * 8
        assert server.connections == 8


async def test_connections_are_never_mixed_up_between_origins(transport: HttpTransport) -> None:
    other = WHOLE.replace(b"answer", b"wonder")
    async with RawServer(answering(WHOLE)) as one, RawServer(answering(other)) as two:
        for _ in range(2):
            assert await whole(transport, target_of(one)) == (200, BODY)
            assert await whole(transport, target_of(two)) == (200, BODY.replace(b"answer", b"wonder"))
        assert (one.connections, two.connections) == (1, 1)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, CLOSED], ids=["length", "chunked", "closed"])
async def test_an_answer_cut_at_every_byte_is_the_same(transport: HttpTransport, answer: bytes) -> None:
    async with RawServer(once(*(answer[i : i + 1] for i in range(len(answer))))) as server:
        assert await whole(transport, target_of(server)) == (200, BODY)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, CLOSED], ids=["length", "chunked", "closed"])
async def test_an_answer_cut_at_any_one_place_is_the_same(transport: HttpTransport, answer: bytes) -> None:
    places = iter(range(1, len(answer)))

    async def handle(peer: RawPeer) -> None:
        while await peer.request():
            place = next(places)
            await peer.send(answer[:place], answer[place:])
            if answer is CLOSED:
                return

    async with RawServer(handle) as server:
        target = target_of(server)
        for _ in range(1, len(answer)):
            assert await whole(transport, target) == (200, BODY)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED], ids=["length", "chunked"])
async def test_an_answer_that_ends_early_anywhere_is_an_error(
    transport: HttpTransport, answer: bytes
) -> None:
    places = iter(range(len(answer)))

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(answer[: next(places)])

    head = answer.index(b"\r\n\r\n") + 4
    async with RawServer(handle) as server:
        target = target_of(server)
        for place in range(len(answer)):
            with pytest.raises(TransportError) as caught:
                await whole(transport, target)
            assert isinstance(caught.value, Disconnected) == (place < head)


async def test_the_error_says_how_much_has_come(transport: HttpTransport) -> None:
    async with RawServer(once(WHOLE[:-10])) as server:
        reply = await transport.post(target_of(server), {}, b"")
        assert await reply.read() == BODY[:-10]
        for _ in range(2):  # and goes on saying so
            with pytest.raises(TransportError, match=rf"after {len(BODY) - 10} of {len(BODY)} body bytes"):
                await reply.read()


async def test_a_reset_is_no_end_of_a_body(transport: HttpTransport) -> None:
    read = asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(CLOSED)
        await read.wait()
        linger = struct.pack("ii", 1, 0)  # on, for no time: closing resets
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.reset()

    async with RawServer(handle) as server:
        reply = await transport.post(target_of(server), {}, b"")
        assert await reply.read() == BODY
        read.set()
        with pytest.raises(TransportError):
            await reply.read()


@pytest.mark.parametrize(
    "surplus",
    [b"x", b"garbage\r\n\r\n", WHOLE, b"HTTP/1.1 200 OK\r\n", b"0\r\n\r\n", b"HTTP/1.1 408 Late\r\n\r\n"],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_what_follows_an_answer_is_never_taken_for_the_next_one(
    transport: HttpTransport, surplus: bytes, apart: bool
) -> None:
    gone = asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        if peer.number:
            return await peer.send(WHOLE.replace(b"answer", b"second"))
        await (peer.send(WHOLE, surplus) if apart else peer.send(WHOLE + surplus))
        await peer.gone()
        gone.set()

    async with RawServer(handle) as server:
        assert await whole(transport, target_of(server)) == (200, BODY)
        await gone.wait()  # the connection was dropped, nothing was sent on it
        assert await whole(transport, target_of(server)) == (200, BODY.replace(b"answer", b"second"))


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE.replace(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"),
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        CLOSED,
    ],
    ids=["close", "1.0", "delimited"],
)
async def test_a_connection_that_will_be_closed_is_not_kept(transport: HttpTransport, answer: bytes) -> None:
    async with RawServer(once(answer)) as server:
        for _ in range(3):
            assert await whole(transport, target_of(server)) == (200, BODY)
        assert server.connections == 3


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_needs_no_length(transport: HttpTransport, status: int) -> None:
    async with RawServer(answering(b"HTTP/1.1 %d X\r\n\r\n" % status)) as server:
        for _ in range(2):
            assert await whole(transport, target_of(server)) == (status, b"")
        assert server.connections == 1


@pytest.mark.parametrize("status", [301, 307, 404, 500])
async def test_every_other_status_is_the_adapters_business(transport: HttpTransport, status: int) -> None:
    answer = WHOLE.replace(b"200", b"%d" % status).replace(b"X-Thing", b"Location")
    async with RawServer(answering(answer)) as server:
        assert await whole(transport, target_of(server)) == (status, BODY)


@pytest.mark.parametrize(
    "first", [b"100 Continue", b"102 Processing", b"103 Early\r\nLink: x\r\nContent-Length: 9"]
)
async def test_interim_answers_are_skipped(transport: HttpTransport, first: bytes) -> None:
    interim = b"HTTP/1.1 " + first + b"\r\n\r\n"
    for pieces in ((interim * 3 + WHOLE,), (interim, interim, WHOLE)):
        async with RawServer(answering(*pieces)) as server:
            for _ in range(2):
                assert await whole(transport, target_of(server)) == (200, BODY)
            assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/3.7 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"<html>no</html>",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_clean_error(transport: HttpTransport, answer: bytes) -> None:
    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()  # the client hangs up first

    async with RawServer(handle) as server:
        with pytest.raises(TransportError) as caught:
            await whole(transport, target_of(server))
        assert not isinstance(caught.value, (Disconnected, Unreachable))


async def test_a_broken_chunk_after_good_ones_gives_the_good_ones_first(transport: HttpTransport) -> None:
    answer = CHUNKED[: CHUNKED.index(b"\r\n5\r\n") + 10] + b"\r\nZZ\r\n"
    async with RawServer(answering(answer)) as server:
        reply = await transport.post(target_of(server), {}, b"")
        assert await reply.read() == BODY[:5]
        with pytest.raises(TransportError, match="HTTP"):
            await reply.read()


async def test_lines_may_end_as_sloppy_servers_end_them(transport: HttpTransport) -> None:
    async with RawServer(answering(WHOLE.replace(b"\r\n", b"\n"))) as server:
        assert await whole(transport, target_of(server)) == (200, BODY)
    async with RawServer(answering(CHUNKED.replace(b"\r\n5\r\n", b"\r\n5  \r\n"))) as server:
        assert await whole(transport, target_of(server)) == (200, BODY)


FILL = b"x" * 1000


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", FILL),
        (b"HTTP/1.1 200 ", FILL),
        (b"HTTP/1.1 200 OK\r\n", b"X-Many: " + FILL + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n" + FILL, FILL),
        (b"\r\n", b"\r\n" * 500),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 20),
        (CHUNKED[:-20] + b"0\r\nX-Trailer: ", FILL),
        (CHUNKED[: CHUNKED.index(b"\r\n5\r\n")] + b"\r\n5;", FILL),
    ],
    ids=["value", "reason", "fields", "name", "empty lines", "interim", "trailer", "extension"],
)
async def test_what_is_not_body_has_an_end(transport: HttpTransport, start: bytes, more: bytes) -> None:
    sent = asyncio.get_running_loop().create_future()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        size = 0
        try:
            while True:  # until the client hangs up
                await peer.send(start if not size else more)
                size += len(more)
        finally:
            sent.set_result(size)

    async with RawServer(handle) as server:
        with pytest.raises(TransportError):
            await whole(transport, target_of(server))
        assert await sent < 16 * 1024 * 1024  # what the kernel took, not what was read


async def test_a_head_is_too_large_even_when_it_comes_with_its_body(transport: HttpTransport) -> None:
    def answer(size: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nX-Long: %b\r\nContent-Length: 1\r\n\r\n1" % (b"x" * size)

    async with RawServer(answering(answer(60_000))) as server:
        assert await whole(transport, target_of(server)) == (200, b"1")
    async with RawServer(answering(answer(70_000))) as server:
        with pytest.raises(TransportError):
            await whole(transport, target_of(server))


def coded(coding: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        coding,
        len(body),
        body,
    )


RAW = zlib.compressobj(wbits=-15)
COMPRESSED = [
    (b"gzip", gzip.compress(BODY, mtime=0)),
    (b"X-GZip", gzip.compress(BODY, mtime=0)),
    (b"deflate", zlib.compress(BODY)),
    (b"deflate", RAW.compress(BODY) + RAW.flush()),
    (b"identity", BODY),
]


@pytest.mark.parametrize(("coding", "body"), COMPRESSED)
async def test_a_body_compressed_unasked_is_expanded(
    transport: HttpTransport, coding: bytes, body: bytes
) -> None:
    answer = coded(coding, body)
    for pieces in ([answer], [answer[i : i + 1] for i in range(len(answer))]):
        async with RawServer(answering(*pieces)) as server:
            for _ in range(2):
                assert await whole(transport, target_of(server)) == (200, BODY)
            assert server.connections == 1


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(BODY, mtime=0)[:-3]),
        (b"gzip", BODY),
        (b"gzip", gzip.compress(BODY, mtime=0) + b"more"),
        (b"deflate", b"\xff" * 30),
        (b"br", BODY),
        (b"gzip, gzip", gzip.compress(gzip.compress(BODY, mtime=0), mtime=0)),
    ],
    ids=["cut", "plain", "more", "garbage", "unknown", "twice"],
)
async def test_a_body_that_cannot_be_expanded_is_an_error_beside_its_status(
    transport: HttpTransport, coding: bytes, body: bytes
) -> None:
    async with RawServer(answering(coded(coding, body))) as server:
        reply = await transport.post(target_of(server), {}, b"")
        assert reply.status == 200
        with pytest.raises(TransportError):
            while await reply.read():
                pass
        with pytest.raises(TransportError):
            await reply.read()


async def test_an_empty_body_needs_no_expanding(transport: HttpTransport) -> None:
    async with RawServer(answering(coded(b"gzip", b""))) as server:
        assert await whole(transport, target_of(server)) == (200, b"")


async def test_a_body_that_expands_a_thousandfold_is_expanded_only_as_it_is_read(
    transport: HttpTransport,
) -> None:
    size = 64 * 1024 * 1024
    async with RawServer(answering(coded(b"gzip", gzip.compress(bytes(size))))) as server:
        reply = await transport.post(target_of(server), {}, b"")
        got = 0
        while data := await reply.read():
            assert len(data) <= 256 * 1024
            got += len(data)
        assert got == size


async def test_nobody_listens(transport: HttpTransport) -> None:
    async with RawServer(answering(WHOLE)) as server:
        target = target_of(server)
    with pytest.raises(Unreachable):
        await transport.post(target, {}, b"")


async def test_a_name_that_nobody_can_have(transport: HttpTransport) -> None:
    with pytest.raises(Unreachable):
        await transport.post(Target.of(f"http://{'a' * 64}.invalid/", {}, 3.0), {}, b"")
