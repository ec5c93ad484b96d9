"""R23: inference and the control plane, two replicas of each, are restarted one process at a time under load. No call
fails, and no stream is cut that is shorter than the grace."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack

import pytest
import pytest_asyncio

from headgate_testing.cluster import ClusterSpec
from headgate_testing.own_servers import own_postgres, own_redis
from headgate_testing.process import Process
from headgate_testing.provider import Script
from headgate_testing.scene import Scene, count, scene
from headgate_testing.shapes import SCALED, SERVICES
from headgate_testing.traffic import failed, percentile_ms, summary

pytestmark = [pytest.mark.faults, pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

REPLICAS = 2
MIN_READY_S = 5.0
"""The minReadySeconds of deploy/k8s: clients of a replica that was away find it again within two or three."""

CALLS, ROUNDS = count(1_000, 10_000), count(1, 3)
# A second of stream: every restart meets some that are running.
LONG = Script(tokens=["word "] * 50, pause=0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    with ExitStack() as stack:
        variables = {
            "HEADGATE_DATABASE_URL": stack.enter_context(own_postgres()).url,
            "HEADGATE_REDIS_URL": stack.enter_context(own_redis()).url,
        }
        spec = ClusterSpec(tmp_path_factory.mktemp("rolling"), SCALED, variables=variables)
        async with scene(spec) as started:
            started.provider.on("slow", LONG)
            yield started


async def gently(process: Process) -> None:
    assert await asyncio.to_thread(process.stop) == 0


async def roughly(process: Process) -> None:
    await asyncio.to_thread(process.kill)


async def roll(
    found: Scene, services: tuple[str, ...], end: Callable[[Process], Awaitable[None]], calls: int
) -> list[str]:
    """Restart the first replica of each of these services, then the second, under load of at least so many calls;
    what broke R23."""
    ended: list[float] = []
    ready = dict.fromkeys(services, 0.0)
    traffic = found.traffic(rate=count(100, 150), streams=0.2)
    async with traffic.flowing():
        await asyncio.sleep(1)
        for replica in range(REPLICAS):
            for service in services:
                process = found.cluster.of(service)[replica]
                await asyncio.sleep(max(0.0, ready[service] + MIN_READY_S - time.monotonic()))
                await end(process)
                ended.append(time.monotonic())
                await asyncio.to_thread(process.start)
                await found.cluster.settled()
                ready[service] = time.monotonic()
        await traffic.until(calls)
    met = sum(1 for a in traffic.answers for moment in ended if a.began < moment < a.began + a.seconds)
    faults = await found.unbilled([answer.received for answer in traffic.answers])
    print(
        f"\n{len(ended)} restarts met {met} running calls; {len(traffic.answers)} calls, "
        f"{summary(traffic.answers)}, p99 {percentile_ms(traffic.answers, 0.99):.0f} ms, {len(faults)} faults"
    )
    assert met
    return [*(f"{a.status} {a.code} {a.pieces}" for a in failed(traffic.answers)), *faults]


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_a_rolling_restart_is_not_noticed(found: Scene, number: int) -> None:
    services = random.sample(SERVICES, len(SERVICES))
    print(f"\n{services}")
    assert await roll(found, tuple(services), gently, CALLS) == []


async def test_the_check_finds_processes_that_do_not_drain(found: Scene) -> None:
    assert await roll(found, ("inference",), roughly, 100)
