"""Whatever a provider sends, a request ends: with an answer or with a clean error, never with a hang or a crash."""

import asyncio
import gzip
from contextlib import suppress
from random import Random

from headgate_clock import SystemClock
from headgate_inference.adapters.http_client import HttpTransport
from headgate_inference.adapters.transport import Target, TransportError
from headgate_testing.raw_server import RawPeer, RawServer

ROUNDS = 1000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
GOOD = [
    b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 12\r\n\r\nHello world!",
    CHUNKED + b"\r\n5\r\nHello\r\n7;a=b\r\n world!\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.0 200\r\nConnection: keep-alive\r\n\r\nHello world!",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
    CHUNKED + b"Content-Encoding: gzip\r\n\r\n20\r\n" + gzip.compress(b"Hello world!") + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\r\n",
]
PARTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b"0",
    b"-1",
    b"ffffffffffffffff",
    b"chunked",
    b"HTTP/1.1 ",
    b" ",
    b"\xff",
]
PARTS += [
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: deflate\r\n",
    b"x" * 70_000,
]


def garbled(random: Random) -> bytes:
    """One or two good answers with up to six faults in them."""
    data = bytearray(random.choice(GOOD) + (random.choice(GOOD) if random.random() < 0.2 else b""))
    for _ in range(random.randrange(7)):
        place = random.randrange(len(data) + 1)
        match random.randrange(5):
            case 0:
                data[place : place + 1] = random.randbytes(1)
            case 1:
                data[place:place] = random.choice(PARTS)
            case 2:
                del data[place : place + random.randrange(20)]
            case 3:
                data[place:place] = data[place : place + random.randrange(40)]
            case _:
                data[place:place] = random.randbytes(random.randrange(10))
    return bytes(data)


def cut(data: bytes, random: Random) -> list[bytes]:
    places = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(4)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


async def test_a_thousand_garbled_answers() -> None:
    seed = Random().randrange(2**32)
    print("seed", seed)
    random = Random(seed)
    stray: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))

    async def handle(peer: RawPeer) -> None:
        while await peer.request():
            for piece in cut(garbled(random), random):
                await peer.send(piece)
            if random.random() < 0.5:
                return peer.reset() if random.random() < 0.3 else None
            # One that goes silent instead is for the caller's timers.
            with suppress(OSError):
                peer.writer.write_eof()

    async def ask(transport: HttpTransport, target: Target) -> str:
        try:
            reply = await transport.post(target, {}, b"{}")
            size = 0
            while data := await reply.read():
                size += len(data)
        except TransportError as fault:
            return type(fault).__name__
        assert size < 1_000_000
        return "answered"

    outcomes: dict[str, int] = {}
    async with RawServer(handle) as server, asyncio.timeout(60):
        transport = HttpTransport(SystemClock())
        target = Target.of(f"http://127.0.0.1:{server.port}/", {}, 3.0)
        for _ in range(ROUNDS // 10):
            for outcome in await asyncio.gather(*(ask(transport, target) for _ in range(10))):
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
        await transport.close()
        assert not transport._pool._open
    assert stray == []
    assert server.faults == []
    assert outcomes.keys() <= {"answered", "TransportError", "Disconnected"}
    assert min(outcomes["answered"], outcomes["TransportError"]) > ROUNDS / 10, outcomes
