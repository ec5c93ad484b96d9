"""Bytes that two HTTP servers could read differently never become a request: each case ends with our envelope and a
closed connection, and no service hears of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from headgate_gateway.app import Clients, build, build_server
from headgate_gateway.settings import GatewaySettings
from headgate_settings import HostPort, Seconds
from headgate_testing.fake_inference import FakeChannel
from headgate_testing.raw_http import RawConnection, http_request

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: test\r\n"
TYPE = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SETTINGS = GatewaySettings(
    http=HostPort("127.0.0.1", 0),
    header_timeout=Seconds(0.1),
    body_timeout=Seconds(0.1),
    idle_timeout=Seconds(5),
)


@dataclass
class Front:
    port: int
    channel: FakeChannel


@pytest.fixture
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    channel, settings = FakeChannel(), replace(SETTINGS, **getattr(request, "param", {}))
    server = build_server(settings, build(settings, Clients.over(channel), lambda _: None, lambda: []))
    yield Front(await server.start(), channel)
    await server.stop(0)


def post(*headers: bytes, line: bytes = LINE, body: bytes = BODY) -> bytes:
    return line + b"".join(headers) + b"\r\n" + body


CASES = {
    "length and chunked": post(HOST, TYPE, LENGTH, CHUNKED, body=CHUNKS),
    "chunked and length": post(HOST, TYPE, CHUNKED, LENGTH, body=CHUNKS),
    "two lengths": post(HOST, TYPE, LENGTH, b"Content-Length: 3\r\n"),
    "the same length twice": post(HOST, TYPE, LENGTH, LENGTH),
    "a list of lengths": post(HOST, TYPE, b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY))),
    "a negative length": post(HOST, TYPE, b"Content-Length: -5\r\n"),
    "a signed length": post(HOST, TYPE, b"Content-Length: +%d\r\n" % len(BODY)),
    "a hexadecimal length": post(HOST, TYPE, b"Content-Length: 0x10\r\n"),
    "a length that overflows": post(HOST, TYPE, b"Content-Length: 99999999999999999999999\r\n"),
    "a length in other digits": post(HOST, TYPE, "Content-Length: ٥\r\n".encode()),
    "an empty length": post(HOST, TYPE, b"Content-Length: \r\n"),
    "an unknown coding": post(HOST, TYPE, b"Transfer-Encoding: gzip\r\n"),
    "chunked is not last": post(HOST, TYPE, b"Transfer-Encoding: chunked, identity\r\n", body=CHUNKS),
    "a coding that looks like chunked": post(HOST, TYPE, b"Transfer-Encoding: xchunked\r\n", body=CHUNKS),
    "a space before the colon": post(HOST, TYPE, b"Transfer-Encoding : chunked\r\n", body=CHUNKS),
    "a folded header": post(HOST, TYPE, b"X-A: b\r\n c\r\n", LENGTH),
    "a folded coding": post(HOST, TYPE, b"Transfer-Encoding:\r\n chunked\r\n", body=CHUNKS),
    "bare line feeds": post(HOST, TYPE, LENGTH).replace(b"\r\n", b"\n"),
    "one bare line feed": post(HOST, TYPE, b"X-A: b\n", LENGTH),
    "a bare carriage return": post(HOST, TYPE, b"X-A: b\rX-B: c\r\n", LENGTH),
    "NUL in a value": post(HOST, TYPE, b"X-A: b\x00c\r\n", LENGTH),
    "NUL in a name": post(HOST, TYPE, b"X\x00A: b\r\n", LENGTH),
    "no name": post(HOST, TYPE, b": b\r\n", LENGTH),
    "no colon": post(HOST, TYPE, b"nonsense\r\n", LENGTH),
    "a pseudo header": post(HOST, TYPE, b":path: /v1/keys\r\n", LENGTH),
    "a name with a space": post(HOST, TYPE, b"X A: b\r\n", LENGTH),
    "no host": post(TYPE, LENGTH),
    "two hosts": post(HOST, HOST, TYPE, LENGTH),
    "two different hosts": post(HOST, b"Host: other\r\n", TYPE, LENGTH),
    "too many fields": post(HOST, TYPE, b"X-A: b\r\n" * 100, LENGTH),
    "headers too large": post(HOST, TYPE, b"X-A: %b\r\n" % (b"b" * 40_000), LENGTH),
    "a path too large": post(HOST, TYPE, LENGTH, line=b"POST /%b HTTP/1.1\r\n" % (b"a" * 40_000)),
    "a chunk size that is no number": post(HOST, TYPE, CHUNKED, body=b"zz\r\n" + BODY),
    "a negative chunk size": post(HOST, TYPE, CHUNKED, body=b"-5\r\n" + BODY),
    "a chunk size that overflows": post(HOST, TYPE, CHUNKED, body=b"fffffffffffffffff\r\n" + BODY),
    "a chunk size with an underscore": post(HOST, TYPE, CHUNKED, body=b"1_0\r\n" + BODY),
    "a chunk that is longer than it says": post(HOST, TYPE, CHUNKED, body=b"5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk ended by a line feed": post(HOST, TYPE, CHUNKED, body=CHUNKS.replace(b"}\r\n", b"}\n")),
    "a chunk size ended by a line feed": post(HOST, TYPE, CHUNKED, body=CHUNKS.replace(b"\r\n{", b"\n{")),
    "an upgrade with a body": post(HOST, TYPE, LENGTH, b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a later version": post(HOST, TYPE, LENGTH, line=LINE.replace(b"1.1", b"3.0")),
    "no version": post(HOST, TYPE, LENGTH, line=b"POST /v1/chat/completions\r\n"),
    "a version of its own": post(HOST, TYPE, LENGTH, line=LINE.replace(b"HTTP/1.1", b"HTTP/1.10")),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "an unknown method": post(HOST, TYPE, LENGTH, line=LINE.replace(b"POST", b"STEAL")),
    "a method in small letters": post(HOST, TYPE, LENGTH, line=LINE.replace(b"POST", b"post")),
    "HTTP/2 in the words of HTTP/1": post(HOST, TYPE, LENGTH, line=LINE.replace(b"1.1", b"2.0")),
    "a tab for a space": post(HOST, TYPE, LENGTH, line=LINE.replace(b" /v1", b"\t/v1")),
    "a space in the path": post(HOST, TYPE, LENGTH, line=LINE.replace(b"/chat", b"/ch at")),
    "a path that is not ASCII": post(HOST, TYPE, LENGTH, line=LINE.replace(b"/chat", b"/ch\xffat")),
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "half a head": LINE + HOST,
    "half a body": post(HOST, TYPE, LENGTH, body=BODY[:20]),
    "half a chunk": post(HOST, TYPE, CHUNKED, body=CHUNKS[:20]),
}


@pytest.mark.parametrize("name", CASES)
async def test_it_is_refused_and_reaches_nobody(front: Front, name: str) -> None:
    connection = await RawConnection.open(front.port)
    await connection.send(CASES[name])
    reply = await connection.reply()
    assert reply.status == 400
    assert reply.headers["server"] == "headgate"
    assert reply.headers["connection"] == "close"
    error = reply.json()["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert error["message"]
    assert await connection.closed() == b""
    assert front.channel.asked == []


async def test_the_same_request_well_formed_is_served(front: Front) -> None:
    for body in (post(HOST, TYPE, LENGTH), post(HOST, TYPE, CHUNKED, body=CHUNKS)):
        connection = await RawConnection.open(front.port)
        await connection.send(body)
        assert (await connection.reply()).status == 200
    assert len(front.channel.asked) == 2


async def test_nothing_smuggled_behind_a_refused_request_is_served(front: Front) -> None:
    connection = await RawConnection.open(front.port)
    inner = http_request("DELETE", "/v1/keys/key_1")
    await connection.send(post(HOST, TYPE, LENGTH, CHUNKED, body=b"0\r\n\r\n" + inner))
    assert (await connection.reply()).status == 400
    assert await connection.closed() == b""
    assert front.channel.asked == []


@pytest.mark.parametrize("front", [{"header_timeout": Seconds(60)}], indirect=True, ids=["without a timer"])
async def test_a_head_of_20_megabytes_is_cut_early(front: Front) -> None:
    connection = await RawConnection.open(front.port)
    piece = b"X-A: " + b"b" * 60_000 + b"\r\n"
    await connection.send(LINE + HOST)
    sent = 0
    while sent < 20 * 1024 * 1024 and not connection.lost:
        await connection.send(piece)
        sent += len(piece)
    assert connection.lost
    assert front.channel.asked == []


async def test_internal_names_do_not_change_who_calls(front: Front) -> None:
    connection = await RawConnection.open(front.port)
    forged = (
        b"X-Headgate-Client-Ip: 10.0.0.1\r\nX_Headgate_Client_Ip: 10.0.0.1\r\nX-Headgate-Suite: guess\r\n"
    )
    await connection.send(post(HOST, TYPE, LENGTH, forged))
    assert (await connection.reply()).status == 200
    assert front.channel.last.metadata["x-headgate-client-ip"] == "127.0.0.1"
    assert "x-headgate-suite" not in front.channel.last.metadata
