"""A whole reply is one write, a stream starts at once, and nothing that would break the protocol gets out."""

import asyncio

import pytest

from headgate_gateway.flow import Flow
from headgate_gateway.reply_head import head_of
from headgate_gateway.request import Request
from headgate_gateway.wire import ClientGone, joined


class Socket(asyncio.Transport):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Exchange:
    """One request on a socket of its own."""

    def __init__(self, method: str = "GET", *, keep_alive: bool = True, **fields: bytes) -> None:
        self.socket = Socket()
        self.flow = Flow(self.socket, write_timeout=60)
        self.ended = 0
        sent = {name.encode(): value for name, value in fields.items()}
        self.request = Request(self, "192.0.2.1", method, ("/", b""), sent)
        self.request.keep_alive = keep_alive

    def reply_ended(self) -> None:
        self.ended += 1

    async def reply(self, fields: dict[str, str], body: bytes = b"ok") -> None:
        await self.request.reply(200, fields, body)


class TestReplies:
    async def test_a_whole_reply_is_one_write(self) -> None:
        exchange = Exchange()
        await exchange.reply({"x-a": "100%\tb"})
        assert exchange.socket.writes == [b"HTTP/1.1 200 OK\r\nx-a: 100%\tb\r\ncontent-length: 2\r\n\r\nok"]
        assert (exchange.ended, exchange.request.ended, exchange.socket.closed) == (1, True, False)

    async def test_the_head_of_a_stream_does_not_wait_for_its_body(self) -> None:
        exchange = Exchange()
        await exchange.request.open(200, {})
        assert exchange.socket.writes == [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
        await exchange.request.piece(b"0123456789", more=True)
        await exchange.request.piece(b"end", more=False)
        assert exchange.socket.writes[1:] == [b"a\r\n0123456789\r\n", b"3\r\nend\r\n0\r\n\r\n"]
        assert exchange.ended == 1

    async def test_an_empty_piece_does_not_end_a_stream(self) -> None:
        exchange = Exchange()
        await exchange.request.open(200, {})
        await exchange.request.piece(b"", more=True)
        assert b"0\r\n\r\n" not in b"".join(exchange.socket.writes[1:])
        await exchange.request.piece(b"", more=False)
        assert exchange.socket.writes[-1] == b"0\r\n\r\n"

    async def test_a_head_request_gets_the_head_alone(self) -> None:
        exchange = Exchange("HEAD")
        await exchange.reply({})
        assert exchange.socket.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"]

    @pytest.mark.parametrize("keep_alive", [True, False])
    async def test_the_last_reply_of_a_connection_says_so_once_and_closes_it(self, keep_alive: bool) -> None:
        exchange = Exchange(keep_alive=keep_alive)
        await exchange.reply({"connection": "close"} if keep_alive else {})
        assert exchange.socket.writes[0].count(b"\r\nconnection: close\r\n") == 1
        assert exchange.socket.closed

    async def test_a_second_reply_is_refused(self) -> None:
        exchange = Exchange()
        with pytest.raises(RuntimeError):
            await exchange.request.piece(b"ok", more=False)
        await exchange.reply({})
        with pytest.raises(RuntimeError):
            await exchange.reply({})
        with pytest.raises(RuntimeError):
            await exchange.request.open(200, {})
        with pytest.raises(RuntimeError):
            await exchange.request.piece(b"ok", more=False)
        assert len(exchange.socket.writes) == 1

    async def test_a_reply_that_is_refused_leaves_room_for_another(self) -> None:
        exchange = Exchange()
        with pytest.raises(RuntimeError):
            await exchange.reply({"x-a": "a\r\nx-b: b"})
        assert (exchange.socket.writes, exchange.request.started) == ([], False)
        await exchange.reply({})
        assert len(exchange.socket.writes) == 1

    async def test_after_the_client_went_nothing_is_written(self) -> None:
        exchange = Exchange()
        exchange.request.abandon()
        await exchange.reply({})
        await exchange.request.piece(b"ok", more=False)
        assert exchange.socket.writes == []

    async def test_a_slow_client_is_waited_for(self) -> None:
        exchange = Exchange()
        exchange.flow.pause_writing()
        waiting = asyncio.create_task(exchange.reply({}))
        await asyncio.sleep(0)
        assert exchange.socket.writes == []
        exchange.flow.resume_writing()
        await waiting
        assert len(exchange.socket.writes) == 1


class TestBodies:
    async def test_what_has_come_is_read_at_once_and_the_rest_when_it_comes(self) -> None:
        exchange = Exchange()
        exchange.request.feed(b"ab")
        exchange.request.feed(b"cd")
        assert await exchange.request.read() == (b"abcd", True)
        rest = asyncio.create_task(exchange.request.read())
        await asyncio.sleep(0)
        exchange.request.feed(b"e")
        exchange.request.feed_end()
        assert await rest == (b"e", False)

    async def test_a_body_that_nobody_reads_is_not_taken(self) -> None:
        exchange = Exchange()
        exchange.request.feed(bytes(70_000))
        assert not exchange.socket.reading
        await exchange.request.read()
        assert exchange.socket.reading

    async def test_after_the_reply_a_body_is_dropped(self) -> None:
        exchange = Exchange()
        await exchange.reply({})
        exchange.request.feed(bytes(70_000))
        assert exchange.socket.reading

    @pytest.mark.parametrize("waiting", [True, False])
    async def test_a_client_that_leaves_within_its_body_is_noticed(self, waiting: bool) -> None:
        exchange = Exchange()
        reading = asyncio.create_task(exchange.request.read())
        if waiting:
            await asyncio.sleep(0)
        exchange.request.abandon()
        with pytest.raises(ClientGone):
            await reading

    async def test_a_client_that_asks_is_told_to_go_on_once(self) -> None:
        exchange = Exchange(expect=b"100-Continue")
        exchange.request.feed_end()
        await exchange.request.read()
        await exchange.request.read()
        assert exchange.socket.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]


class TestHeads:
    @pytest.mark.parametrize("control", [*range(9), *range(10, 32), 127])
    @pytest.mark.parametrize("before", ["", "a"])
    def test_a_value_with_a_control_character_is_refused(self, control: int, before: str) -> None:
        with pytest.raises(RuntimeError):
            head_of(200, {"x-a": before + chr(control), "x-b": "b"})

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\x00", "a\t", "ä"])
    def test_a_name_that_is_none_is_refused(self, name: str) -> None:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                head_of(200, {"x-a": "a", name: "b"})

    def test_a_name_with_a_percent_sign_is_no_format(self) -> None:
        assert head_of(204, {"x%b": "a"}) == b"HTTP/1.1 204 No Content\r\nx%b: a\r\n\r\n"

    def test_what_is_not_ascii_is_a_question_mark(self) -> None:
        assert head_of(200, {"x-a": "zä\u2028"}) == b"HTTP/1.1 200 OK\r\nx-a: z??\r\n\r\n"

    def test_repeated_fields_are_joined(self) -> None:
        sent = [(b"authorization", b"a"), (b"host", b"h"), (b"authorization", b"b")]
        assert joined(sent) == {b"authorization": b"a, b", b"host": b"h"}
