"""The cold column of what happens when a dependency is away (reliability, fail static): inference is started again
while somebody is not there."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
import pytest_asyncio

from headgate_testing.cluster import ClusterSpec
from headgate_testing.outage import ask, until_alive
from headgate_testing.process import Process
from headgate_testing.scene import Scene, scene
from headgate_testing.shapes import SEPARATE
from headgate_testing.traffic import failed, summary

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene(ClusterSpec(tmp_path_factory.mktemp("cold"), SEPARATE)) as started:
        yield started


def inference(found: Scene) -> Process:
    return found.cluster.processes["inference-0"]


@asynccontextmanager
async def killed(found: Scene, *names: str) -> AsyncIterator[None]:
    """Inference has stopped, and these are dead; they come back at the end of the block."""
    processes = [found.cluster.processes[f"{name}-0"] for name in names]
    assert await asyncio.to_thread(inference(found).stop) == 0
    for process in processes:
        await asyncio.to_thread(process.kill)
    yield
    await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
    await found.cluster.settled()
    await found.back_to_normal()


async def calls(found: Scene, number: int) -> list[str]:
    """Make calls with the known keys and tell what is wrong with them and their bill."""
    traffic = found.traffic()
    async with traffic.flowing():
        await traffic.until(number)
    print(f"\n{len(traffic.answers)} calls, {summary(traffic.answers)}")
    return [answer.code for answer in failed(traffic.answers)]


async def test_without_registry_and_routing_it_starts_from_its_disk(found: Scene) -> None:
    async with killed(found, "registry", "routing"):
        await asyncio.to_thread(inference(found).start)
        print(f"\nready after {inference(found).ready_s:.1f} s")
        assert await eventually_ok(found)
        assert await calls(found, 100) == []


async def test_without_metering_it_serves_and_journals(found: Scene) -> None:
    async with killed(found, "metering"):
        await asyncio.to_thread(inference(found).start)
        assert await eventually_ok(found)
        traffic = found.traffic()
        async with traffic.flowing():
            await traffic.until(100)
        print(f"\n{len(traffic.answers)} calls, {summary(traffic.answers)}")
        assert failed(traffic.answers) == []
    assert await found.unbilled([answer.received for answer in traffic.answers]) == []


async def test_without_auth_every_key_is_one_that_nobody_can_vouch_for(found: Scene) -> None:
    async with killed(found, "auth"):
        await asyncio.to_thread(inference(found).start)
        for key in found.keys:
            reply = await ask(found, key)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "service_unavailable")
            assert int(reply.headers["retry-after"]) >= 1


async def test_with_neither_disk_nor_registry_it_is_alive_and_not_ready(found: Scene) -> None:
    async with killed(found, "registry", "routing"):
        for snapshots in found.cluster.folder.glob("inference-0/**/snapshots"):
            shutil.rmtree(snapshots)
        inference(found).spawn()
        (ops,) = found.cluster.ops_of("inference")
        async with httpx2.AsyncClient() as http:
            await until_alive(http, ops)
            assert (await http.get(f"{ops}/readyz")).status_code == 503
            assert (await ask(found, found.keys[0])).status_code == 503
    await asyncio.to_thread(inference(found).wait_ready)
    assert await calls(found, 50) == []


async def eventually_ok(found: Scene) -> bool:
    """The gateway finds inference again within two seconds, inference finds auth."""
    async with asyncio.timeout(10):
        while (await ask(found, found.keys[0])).status_code != 200:
            await asyncio.sleep(0.05)
    return True
