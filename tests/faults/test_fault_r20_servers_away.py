"""R20 and R21: PostgreSQL or Redis is killed, held still or black-holed under load. Known keys are served on, nothing
is lost, an unknown key is told that nobody can say."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio

from headgate_testing.cluster import ClusterSpec
from headgate_testing.outage import KINDS, Outage, judged_outage
from headgate_testing.own_servers import own_postgres, own_redis
from headgate_testing.proxy import Proxy
from headgate_testing.scene import Scene, count, scene
from headgate_testing.shapes import SEPARATE

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
