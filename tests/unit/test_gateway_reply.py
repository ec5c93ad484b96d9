"""A whole reply is one write, a stream starts at once, and nothing that would break the protocol gets out."""

import asyncio
import logging

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from headgate_gateway.reply import Reply, head_of

TWO = [(b"content-length", b"2")]


class Socket(asyncio.Transport):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True


class Exchange:
    """One reply on a socket of its own."""

    def __init__(self, method: str = "GET", *, keep_alive: bool = True) -> None:
        self.socket = Socket()
        self.ended = 0
        self.cycle = RequestResponseCycle(
            scope={"method": method},  # type: ignore[typeddict-item]
            transport=self.socket,
            flow=FlowControl(self.socket),
            logger=logging.getLogger(),
            access_logger=logging.getLogger(),
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._on_response,
        )
        self._reply = Reply(self.cycle)

    def _on_response(self) -> None:
        self.ended += 1

    async def start(self, headers: list[tuple[bytes, bytes]], status: int = 200) -> None:
        await self._reply.send({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, body: bytes, *, more: bool = False) -> None:
        await self._reply.send({"type": "http.response.body", "body": body, "more_body": more})


async def test_a_whole_reply_is_one_write() -> None:
    exchange = Exchange()
    await exchange.start([(b"x-a", b"100%\tb"), *TWO])
    await exchange.body(b"ok")
    assert exchange.socket.writes == [b"HTTP/1.1 200 OK\r\nx-a: 100%\tb\r\ncontent-length: 2\r\n\r\nok"]
    assert (exchange.ended, exchange.cycle.response_complete, exchange.socket.closed) == (1, True, False)


async def test_the_head_of_a_stream_does_not_wait_for_its_body() -> None:
    exchange = Exchange()
    await exchange.start([])
    assert exchange.socket.writes == [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
    await exchange.body(b"0123456789", more=True)
    await exchange.body(b"end")
    assert exchange.socket.writes[1:] == [b"a\r\n0123456789\r\n", b"3\r\nend\r\n0\r\n\r\n"]
    assert exchange.ended == 1


async def test_an_empty_piece_does_not_end_a_stream() -> None:
    exchange = Exchange()
    await exchange.start([])
    await exchange.body(b"", more=True)
    assert b"0\r\n\r\n" not in b"".join(exchange.socket.writes[1:])
    await exchange.body(b"")
    assert exchange.socket.writes[-1] == b"0\r\n\r\n"


async def test_a_head_request_gets_the_head_alone() -> None:
    exchange = Exchange("HEAD")
    await exchange.start(TWO)
    await exchange.body(b"ok")
    assert exchange.socket.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"]


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_the_last_reply_of_a_connection_says_so_once_and_closes_it(keep_alive: bool) -> None:
    exchange = Exchange(keep_alive=keep_alive)
    await exchange.start([*TWO, *([(b"connection", b"close")] if keep_alive else [])])
    await exchange.body(b"ok")
    assert exchange.socket.writes[0].count(b"\r\nconnection: close\r\n") == 1
    assert exchange.socket.closed


@pytest.mark.parametrize("body", [b"", b"o", b"okay"])
async def test_a_body_of_another_length_than_announced_is_not_sent(body: bytes) -> None:
    exchange = Exchange()
    await exchange.start(TWO)
    with pytest.raises(RuntimeError):
        await exchange.body(body)
    assert exchange.socket.writes == []


async def test_messages_out_of_order_are_refused() -> None:
    exchange = Exchange()
    with pytest.raises(RuntimeError):
        await exchange.body(b"ok")
    await exchange.start(TWO)
    with pytest.raises(RuntimeError):
        await exchange.start(TWO)
    await exchange.body(b"ok")
    with pytest.raises(RuntimeError):
        await exchange.body(b"ok")
    assert len(exchange.socket.writes) == 1


async def test_after_the_client_went_nothing_is_written() -> None:
    exchange = Exchange()
    exchange.cycle.disconnected = True
    await exchange.start(TWO)
    await exchange.body(b"ok")
    assert exchange.socket.writes == []


@pytest.mark.parametrize("control", [*range(9), *range(10, 32), 127])
@pytest.mark.parametrize("before", [b"", b"a"])
def test_a_value_with_a_control_character_is_refused(control: int, before: bytes) -> None:
    with pytest.raises(RuntimeError):
        head_of(200, [(b"x-a", before + bytes([control])), (b"x-b", b"b")])


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"a\x00", b"a\t"])
def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError):
            head_of(200, [(b"x-a", b"a"), (name, b"b")])


def test_a_name_with_a_percent_sign_is_no_format() -> None:
    assert head_of(204, [(b"x%b", b"a")]) == b"HTTP/1.1 204 No Content\r\nx%b: a\r\n"
