"""PERF-9: a thousand idle streams, clients that read slowly and clients that reconnect for every call do not raise
the p99 of everybody else's calls by more than a fifth."""

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import pytest
import pytest_asyncio

from headgate_testing.cluster import ClusterSpec
from headgate_testing.load import MESSAGES
from headgate_testing.provider import Script
from headgate_testing.raw_http import RawConnection, http_request
from headgate_testing.scene import Scene, bound, count, scene
from headgate_testing.shapes import SEPARATE
from headgate_testing.traffic import Caller, failed, percentile_ms, summary

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

IDLE, SLOW, RECONNECTING = 1000, 20, 10
CALM_S = 2.0
"""To come and to go is work of its own, which is not what is measured."""

WINDOW_S, PAIRS, TRIES = count(3, 10), count(2, 5), 3
RISE = 0.2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(ClusterSpec(tmp_path_factory.mktemp("bystanders"), SEPARATE)) as started:
        started.provider.on("idle", Script(tokens=["word "] * 2, hang_after=1))
        started.provider.on("long", Script(tokens=["word " * 200] * 5_000))
        yield started


async def opened(found: Scene, model: str, buffer: int | None = None) -> RawConnection:
    """A stream that has begun; with `buffer`, on a socket that takes so many bytes unread."""
    if buffer is None:
        connection = await RawConnection.open(found.port, 60)
    else:
        raw = socket.create_connection(("127.0.0.1", found.port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection = RawConnection(*await asyncio.open_connection(sock=raw, limit=buffer), 60)
    body = json.dumps({"model": model, "messages": MESSAGES, "stream": True}).encode()
    await connection.send(http_request("POST", "/v1/chat/completions", body, key=found.keys[0]))
    status, _ = await connection.head()
    assert status == 200
    return connection


@asynccontextmanager
async def crowd(found: Scene) -> AsyncIterator[None]:
    """Idle streams, slow readers and reconnecting callers, for the length of the block."""
    connections: list[RawConnection] = []
    for _ in range(0, IDLE, 50):
        connections += await asyncio.gather(*(opened(found, "idle") for _ in range(50)))
    connections += [await opened(found, "long", 4096) for _ in range(SLOW)]
    tasks = [asyncio.create_task(read_slowly(one)) for one in connections[-SLOW:]]
    tasks += [asyncio.create_task(reconnect(found)) for _ in range(RECONNECTING)]
    await asyncio.sleep(CALM_S)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in connections:
            connection.hang_up()
        await asyncio.sleep(CALM_S)


async def read_slowly(connection: RawConnection) -> None:
    while True:
        await connection.chunk()
        await asyncio.sleep(1)


async def reconnect(found: Scene) -> None:
    while True:
        caller = Caller(found.port, found.keys[0])
        await caller.call("fast")
        await caller.close()
        await asyncio.sleep(0.5)


async def p99_ms(found: Scene) -> float:
    """The p99 of others' calls in one window, none of which may fail."""
    traffic = found.traffic(rate=100, streams=0.0)
    async with traffic.flowing():
        await asyncio.sleep(WINDOW_S)
    assert failed(traffic.answers) == [], summary(traffic.answers)
    return percentile_ms(traffic.answers, 0.99)


async def test_a_crowd_does_not_slow_others_down(found: Scene) -> None:
    alone: list[float] = []
    crowded: list[float] = []
    rise = math.inf
    while rise > bound(RISE) and len(alone) < TRIES * PAIRS:
        for _ in range(PAIRS):
            alone.append(await p99_ms(found))
            async with crowd(found):
                crowded.append(await p99_ms(found))
            print(f"\np99 {alone[-1]:.1f} ms alone, {crowded[-1]:.1f} ms in the crowd")
        rise = median(crowded) / median(alone) - 1
        quietest = min(crowded) / min(alone) - 1
        print(f"{len(alone)} pairs: {rise:+.0%} of the medians, {quietest:+.0%} of the quietest")
    assert rise <= bound(RISE)
