"""R20 and R21: PostgreSQL or Redis is killed, held still or black-holed under load. Known keys are served on, nothing
is lost, an unknown key is told that nobody can say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx2
import pytest
import pytest_asyncio

from headgate_testing.cluster import ClusterSpec
from headgate_testing.outage import KINDS, Outage, ask, judged_outage, unknown_key, until_alive
from headgate_testing.own_servers import own_postgres, own_redis
from headgate_testing.proxy import Proxy
from headgate_testing.scene import Scene, count, scene
from headgate_testing.shapes import CONTROL_PLANE, SEPARATE
from headgate_testing.traffic import failed, summary

pytestmark = [pytest.mark.faults, pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

CALLS = [count(500, 10_000), count(500, 2_000), count(500, 2_000)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Scene, dict[str, Outage]]]:
    async with AsyncExitStack() as stack:
        servers = {
            "postgres": stack.enter_context(own_postgres()),
            "redis": stack.enter_context(own_redis()),
        }
        proxies = {
            name: await stack.enter_async_context(Proxy(server.address)) for name, server in servers.items()
        }
        variables = {
            "HEADGATE_DATABASE_URL": through(servers["postgres"].url, proxies["postgres"]),
            "HEADGATE_REDIS_URL": through(servers["redis"].url, proxies["redis"]),
        }
        shape = replace(SEPARATE, servers=True)
        spec = ClusterSpec(tmp_path_factory.mktemp("servers"), shape, variables=variables)
        found = await stack.enter_async_context(scene(spec))
        yield found, {name: Outage(servers[name], proxies[name]) for name in servers}


def through(url: str, proxy: Proxy) -> str:
    """The URL of the same server behind its proxy."""
    return url.replace(f"{proxy.target[0]}:{proxy.target[1]}", proxy.address)


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("who", ["postgres", "redis"])
async def test_known_keys_do_not_notice(stage: tuple[Scene, dict[str, Outage]], who: str, how: str) -> None:
    found, outages = stage
    # A wait for what is away shows every time, the machine's other work does not.
    for calls in CALLS:
        judged = await judged_outage(found, outages[who], how, calls)
        print(f"\n{who} {how}: {judged}")
        assert judged.complaints(unknown=503 if who == "postgres" else 401) == []
        if judged.in_time:
            break
    assert judged.in_time


async def test_a_control_plane_that_starts_without_its_database_waits_for_it(
    stage: tuple[Scene, dict[str, Outage]],
) -> None:
    found, outages = stage
    processes = [process for name in CONTROL_PLANE for process in found.cluster.of(name)]
    await outages["postgres"].begin("killed")
    for process in processes:
        await asyncio.to_thread(process.kill)
        process.spawn()
    async with httpx2.AsyncClient() as http:
        for name in CONTROL_PLANE:
            (ops,) = found.cluster.ops_of(name)
            await until_alive(http, ops)
            ready = await http.get(f"{ops}/readyz")
            print(f"\n{name}: {ready.text.strip()}")
            assert name != "auth" or ready.status_code == 503
    known, unknown = await ask(found, found.keys[0]), await ask(found, unknown_key())
    print(known.status_code, unknown.status_code)
    await outages["postgres"].end("killed")
    for process in processes:
        await asyncio.to_thread(process.wait_ready)
    await found.back_to_normal()
    assert (known.status_code, unknown.status_code) == (200, 503)
    assert all(process.alive for process in processes)


async def test_a_metering_that_starts_without_redis_costs_no_call(
    stage: tuple[Scene, dict[str, Outage]],
) -> None:
    found, outages = stage
    (metering,) = found.cluster.of("metering")
    await outages["redis"].begin("killed")
    await asyncio.to_thread(metering.kill)
    metering.spawn()
    (ops,) = found.cluster.ops_of("metering")
    async with httpx2.AsyncClient() as http:
        await until_alive(http, ops)
        print(f"\nmetering: {(await http.get(f'{ops}/readyz')).text.strip()}")
    traffic = found.traffic()
    async with traffic.flowing():
        await traffic.until(100)
    await outages["redis"].end("killed")
    await asyncio.to_thread(metering.wait_ready)
    print(f"{len(traffic.answers)} calls, {summary(traffic.answers)}")
    assert failed(traffic.answers) == []
    assert await found.unbilled([answer.received for answer in traffic.answers]) == []
    await found.back_to_normal()
