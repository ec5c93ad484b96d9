"""When connections are kept, tried again, paused and closed: a provider whose caller has gone knows it at once, and
what the server closed while idle costs the caller nothing."""

import asyncio
from collections.abc import Callable

import pytest

from headgate_clock import SystemClock
from headgate_inference.adapters.http_client import HttpTransport
from headgate_inference.adapters.http_reply import HttpReply
from headgate_inference.adapters.transport import Disconnected, Target, TransportError, Unreachable
from headgate_testing.clock import FakeClock
from headgate_testing.provider import Script, ScriptedProvider
from headgate_testing.raw_server import RawPeer, RawServer

BODY = b"a whole answer"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"6\r\n[DONE]\r\n"
MOST_BUFFERED = 256 * 1024


pytestmark = pytest.mark.usefixtures("transport")


def target_of(port: int, scheme: str = "http", connect_s: float = 3.0) -> Target:
    return Target.of(f"{scheme}://127.0.0.1:{port}/", {}, connect_s)


async def whole(transport: HttpTransport, port: int) -> bytes:
    reply = await transport.post(target_of(port), {}, b"")
    return await reply.read() + await reply.read()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


class Fickle:
    """Answers the first request of a first connection; the next one is answered by `last` and the end of the
    connection. On later connections every request is answered if `recovers`, else none."""

    def __init__(self, last: bytes = b"", *, recovers: bool = True) -> None:
        self.requests: list[int] = []
        self._last = last
        self._recovers = recovers

    async def __call__(self, peer: RawPeer) -> None:
        while await peer.request():
            self.requests.append(peer.number)
            if (peer.number == 0 and self.requests == [0]) or (peer.number and self._recovers):
                await peer.send(WHOLE)
            else:
                return await peer.send(self._last)


async def test_a_kept_connection_closed_as_we_sent_is_replaced(transport: HttpTransport) -> None:
    fickle = Fickle()
    async with RawServer(fickle) as server:
        assert await whole(transport, server.port) == BODY
        assert await whole(transport, server.port) == BODY
    assert fickle.requests == [0, 0, 1]


async def test_a_reset_that_crosses_the_request_is_no_fault(transport: HttpTransport) -> None:
    peers: list[RawPeer] = []

    async def handle(peer: RawPeer) -> None:
        peers.append(peer)
        while await peer.request():
            await peer.send(WHOLE)

    async with RawServer(handle) as server:
        for number in range(20):
            assert await whole(transport, server.port) == BODY
            peers[number].reset()  # takes effect when this task next waits: after the next request was sent
        assert server.connections == 20


async def test_only_once(transport: HttpTransport) -> None:
    fickle = Fickle(recovers=False)
    async with RawServer(fickle) as server:
        await whole(transport, server.port)
        with pytest.raises(Disconnected):
            await whole(transport, server.port)
    assert fickle.requests == [0, 0, 1]


@pytest.mark.parametrize("last", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE[:30]])
async def test_not_once_anything_has_come(transport: HttpTransport, last: bytes) -> None:
    fickle = Fickle(last)
    async with RawServer(fickle) as server:
        await whole(transport, server.port)
        with pytest.raises(Disconnected):
            await whole(transport, server.port)
    assert fickle.requests == [0, 0]


async def test_not_on_a_fresh_connection(transport: HttpTransport) -> None:
    async def handle(peer: RawPeer) -> None:
        await peer.request()

    async with RawServer(handle) as server:
        with pytest.raises(Disconnected):
            await whole(transport, server.port)
        assert server.connections == 1


async def test_not_when_it_makes_no_sense(transport: HttpTransport) -> None:
    fickle = Fickle(b"garbage")
    async with RawServer(fickle) as server:
        await whole(transport, server.port)
        with pytest.raises(TransportError) as caught:
            await whole(transport, server.port)
        assert not isinstance(caught.value, Disconnected)
    assert fickle.requests == [0, 0]


async def test_a_server_that_has_gone_altogether_is_unreachable(transport: HttpTransport) -> None:
    async with RawServer(Fickle()) as server:
        await whole(transport, server.port)
        port = server.port
    with pytest.raises(Unreachable):
        await whole(transport, port)


async def test_a_server_that_accepts_and_closes_is_disconnected(transport: HttpTransport) -> None:
    async def handle(peer: RawPeer) -> None:
        return

    async with RawServer(handle) as server:
        for _ in range(20):
            with pytest.raises(Disconnected):
                await whole(transport, server.port)
    await until(lambda: not transport._pool._open)


async def test_a_connection_closed_before_its_first_request_is_disconnected(transport: HttpTransport) -> None:
    async def handle(peer: RawPeer) -> None:
        peer.close()

    async with RawServer(handle) as server:
        connection = await transport._pool.connect(target_of(server.port).origin, 3.0)
        await connection.lost
        with pytest.raises(Disconnected):
            await connection.exchange(b"POST / HTTP/1.1\r\n\r\n")


async def test_a_connection_closed_while_idle_is_never_used(transport: HttpTransport) -> None:
    requests: list[int] = []

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        requests.append(peer.number)
        await peer.send(WHOLE)

    async with RawServer(handle) as server:
        for number in range(3):
            assert await whole(transport, server.port) == BODY
            await until(lambda: not transport._pool._open)
            assert transport._pool.take(target_of(server.port).origin) is None
            assert requests == list(range(number + 1))


async def test_what_is_idle_too_long_is_not_used_but_closed() -> None:
    clock = FakeClock()
    transport = HttpTransport(clock)
    gone = asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        while await peer.request():
            await peer.send(WHOLE)
        gone.set()

    async with RawServer(handle) as server:
        await whole(transport, server.port)
        clock.advance(29.9)
        await whole(transport, server.port)
        assert server.connections == 1
        clock.advance(30)
        await whole(transport, server.port)
        assert server.connections == 2
        await gone.wait()
        await transport.close()


async def test_what_is_idle_too_long_is_closed_without_another_request() -> None:
    transport = HttpTransport(SystemClock(), idle_s=0.01)
    gone = asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        await peer.gone()
        gone.set()

    async with RawServer(handle) as server:
        await whole(transport, server.port)
        await gone.wait()
        await until(lambda: not transport._pool._idle and transport._pool._sweep is None)
        await transport.close()


async def test_no_more_are_kept_than_may_be() -> None:
    transport = HttpTransport(SystemClock(), most_idle=2)
    gone: list[int] = []

    async def handle(peer: RawPeer) -> None:
        while await peer.request():
            await peer.send(WHOLE)
        gone.append(peer.number)

    async with RawServer(handle) as server:
        await asyncio.gather(*(whole(transport, server.port) for _ in range(5)))
        await until(lambda: len(gone) == 3)
        await asyncio.gather(*(whole(transport, server.port) for _ in range(2)))
        assert (server.connections, len(gone)) == (5, 3)
        await transport.close()


class Gone:
    """Sends `start` after a request, and tells when the client has hung up."""

    def __init__(self, start: bytes) -> None:
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self._start = start

    async def __call__(self, peer: RawPeer) -> None:
        await peer.request()
        await peer.send(self._start)
        self.asked.set()
        await peer.gone()
        self.gone.set()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_cancelling_who_waits_for_an_answer_closes_the_connection(
    transport: HttpTransport, start: bytes
) -> None:
    provider = Gone(start)
    async with RawServer(provider) as server:
        waiting = asyncio.create_task(transport.post(target_of(server.port), {}, b""))
        await provider.asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await provider.gone.wait()


async def test_cancelling_on_a_kept_connection_closes_it_and_tries_nothing_again(
    transport: HttpTransport,
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        await peer.request()
        asked.set()
        await peer.gone()
        gone.set()

    async with RawServer(handle) as server:
        await whole(transport, server.port)
        waiting = asyncio.create_task(transport.post(target_of(server.port), {}, b""))
        await asked.wait()
        waiting.cancel()
        await gone.wait()
        assert waiting.done()
        assert server.connections == 1


async def test_cancelling_does_not_wait_for_a_body_that_nobody_takes(transport: HttpTransport) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    sent = 64 * 1024 * 1024
    got = 0

    async def handle(peer: RawPeer) -> None:
        nonlocal got
        begun.set()
        await go_on.wait()
        got = len(await peer.request())
        go_on.clear()

    async with RawServer(handle) as server:
        waiting = asyncio.create_task(transport.post(target_of(server.port), {}, bytes(sent)))
        await begun.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        go_on.set()
        await until(lambda: not go_on.is_set())
    assert got == 0  # not a whole request, for its end was never sent


async def test_closing_a_stream_early_closes_the_connection() -> None:
    transport = HttpTransport(SystemClock())
    async with ScriptedProvider(Script(hang_after=2)) as provider:
        target = Target.of(f"{provider.base_url}/chat/completions", {}, 3.0)
        reply = await transport.post(target, {}, b'{"model": "m", "messages": [], "stream": true}')
        assert await reply.read()
        reply.close()
        await (await provider.request(0)).gone.wait()
        with pytest.raises(TransportError):
            while await reply.read():
                pass
        reply.close()
        reply.release()
        await transport.close()


async def test_cancelling_a_read_leaves_the_stream_to_be_read_or_closed(transport: HttpTransport) -> None:
    more, gone = asyncio.Event(), asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send(HEAD)
        await more.wait()
        await peer.send(DONE)
        await peer.gone()
        gone.set()

    async with RawServer(handle) as server:
        reply = await transport.post(target_of(server.port), {}, b"")
        reading = asyncio.create_task(reply.read())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        more.set()
        assert await reply.read() == b"[DONE]"
        reply.close()
        await gone.wait()


async def test_a_stream_released_before_its_last_bytes_keeps_the_connection(transport: HttpTransport) -> None:
    released = asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        while await peer.request():
            await peer.send(HEAD, DONE)
            await released.wait()
            await peer.send(b"3\r\nxyz\r\n", b"0\r\n\r\n")

    async with RawServer(handle) as server:
        for _ in range(3):
            reply = await transport.post(target_of(server.port), {}, b"")
            assert await reply.read() == b"[DONE]"
            reply.release()
            released.set()
            await until(lambda: bool(transport._pool._idle.get(target_of(server.port).origin)))
            released.clear()
            reply.close()  # too late to matter
        assert server.connections == 1


async def test_a_released_stream_that_goes_on_is_dropped_by_what_it_sends(transport: HttpTransport) -> None:
    sent = asyncio.get_running_loop().create_future()

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        size = 0
        try:
            await peer.send(HEAD)
            while True:
                await peer.send(b"2710\r\n" + bytes(10_000) + b"\r\n")
                size += 10_000
        finally:
            sent.set_result(size)

    async with RawServer(handle) as server:
        reply = await transport.post(target_of(server.port), {}, b"")
        assert await reply.read()
        reply.release()
        assert await sent < 8 * 1024 * 1024  # what the kernel took; a second would let through far more


async def test_a_released_stream_that_falls_silent_is_dropped_after_a_second(
    transport: HttpTransport,
) -> None:
    provider = Gone(HEAD + DONE)
    async with RawServer(provider) as server:
        reply = await transport.post(target_of(server.port), {}, b"")
        assert await reply.read() == b"[DONE]"
        reply.release()
        await provider.gone.wait()


async def test_an_answer_before_the_request_was_read_ends_the_connection(transport: HttpTransport) -> None:
    async def handle(peer: RawPeer) -> None:
        await peer.send(WHOLE)
        await peer.gone()

    async with RawServer(handle) as server:
        for _ in range(2):
            reply = await transport.post(target_of(server.port), {}, bytes(64 * 1024 * 1024))
            assert await reply.read() == BODY
        assert server.connections == 2


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_provider_is_held_back_to_the_pace_of_who_reads(
    transport: HttpTransport, chunked: bool
) -> None:
    size = 32 * 1024 * 1024
    peers: list[RawPeer] = []

    async def handle(peer: RawPeer) -> None:
        peers.append(peer)
        while await peer.request():
            head = HEAD if chunked else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
            peer.writer.write(head + (b"%x\r\n" % size if chunked else b""))
            peer.writer.write(bytes(size))
            peer.writer.write(b"\r\n0\r\n\r\n" if chunked else b"")

    async with RawServer(handle) as server:
        for _ in range(2):
            reply = await transport.post(target_of(server.port), {}, b"")
            got = 0
            while True:
                await many_turns()
                waiting = peers[0].writer.transport.get_write_buffer_size()
                assert reply.buffered <= 2 * MOST_BUFFERED
                # What is neither read nor with the server is in the kernel, which holds a few MiB.
                assert got + reply.buffered + waiting >= size - 16 * 1024 * 1024
                if not (data := await reply.read()):
                    break
                got += len(data)
            assert got == size
        assert server.connections == 1


async def many_turns() -> None:
    """Let come what would come."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("end", [HttpReply.close, HttpReply.release])
async def test_a_held_back_stream_can_be_closed_and_released(
    transport: HttpTransport, end: Callable[[HttpReply], None]
) -> None:
    async with RawServer(Gone(HEAD + b"%x\r\n" % 400_000 + bytes(400_000) + b"\r\n")) as server:
        reply = await transport.post(target_of(server.port), {}, b"")
        await until(lambda: reply.buffered > MOST_BUFFERED)
        end(reply)
        await until(lambda: not transport._pool._open)


async def test_closing_the_transport_closes_what_is_idle_and_what_is_not() -> None:
    transport = HttpTransport(SystemClock())
    gone: list[int] = []

    async def handle(peer: RawPeer) -> None:
        await peer.request()
        await peer.send((WHOLE, HEAD + DONE, b"")[peer.number])
        await peer.gone()
        gone.append(peer.number)

    async with RawServer(handle) as server:
        target = target_of(server.port)
        # The first is idle once the others run, for they are begun while it does.
        first = transport._pool.connect(target.origin, 3.0)
        idle = await (await first).exchange(b"POST / HTTP/1.1\r\n\r\n")
        running = await (await transport._pool.connect(target.origin, 3.0)).exchange(
            b"POST / HTTP/1.1\r\n\r\n"
        )
        third = await transport._pool.connect(target.origin, 3.0)
        waiting = asyncio.create_task(third.exchange(b"POST / HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0)
        await transport.close()
        assert await idle.read() == BODY
        assert await running.read() == b"[DONE]"
        with pytest.raises(TransportError):
            await running.read()
        with pytest.raises(TransportError):
            await waiting
        await until(lambda: sorted(gone) == [0, 1, 2])
        assert not transport._pool._open
        assert not any(transport._pool._idle.values())


async def test_a_server_that_never_finishes_the_handshake_is_unreachable_in_time(
    transport: HttpTransport,
) -> None:
    provider = Gone(b"")
    async with RawServer(provider) as server:
        with pytest.raises(Unreachable):
            await transport.post(target_of(server.port, "https", connect_s=0.05), {}, b"")
        await provider.gone.wait()


async def test_cancelling_who_waits_for_a_connection_closes_it(transport: HttpTransport) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def handle(peer: RawPeer) -> None:
        begun.set()
        await peer.gone()
        gone.set()

    async with RawServer(handle) as server:
        waiting = asyncio.create_task(transport.post(target_of(server.port, "https"), {}, b""))
        await begun.wait()
        waiting.cancel()
        await gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await waiting
