"""R20 and R21: auth, routing, registry or metering is killed, held still or black-holed under load. Known keys are
served on, nothing is lost, and nobody is told `no` where the truth is `cannot say`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from headgate_testing.cluster import ClusterSpec
from headgate_testing.outage import KINDS, Outage, judged_outage
from headgate_testing.proxy import Proxy
from headgate_testing.scene import Scene, count, scene
from headgate_testing.shapes import CONTROL_PLANE, SEPARATE

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

CALLS = [count(500, 10_000), count(500, 2_000), count(500, 2_000)]
NO_MEMORY = (str(Path(__file__).with_name("no_memory.py")),)


async def staged(stack: AsyncExitStack, folder: Path, *command: str) -> tuple[Scene, dict[str, Outage]]:
    """A cluster with a proxy before each service of the control plane."""
    spec = ClusterSpec(folder, SEPARATE, command=command or ("-m", "headgate_suite"))
    proxies = {}
    for name in CONTROL_PLANE:
        proxies[name] = await stack.enter_async_context(Proxy(spec.address(name)))
        spec.targets[name] = proxies[name].address
    found = await stack.enter_async_context(scene(spec))
    return found, {name: Outage(found.cluster.of(name)[0], proxies[name]) for name in CONTROL_PLANE}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Scene, dict[str, Outage]]]:
    async with AsyncExitStack() as stack:
        yield await staged(stack, tmp_path_factory.mktemp("away"))


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("who", CONTROL_PLANE)
async def test_known_keys_do_not_notice(stage: tuple[Scene, dict[str, Outage]], who: str, how: str) -> None:
    found, outages = stage
    # A wait for what is away shows every time, the machine's other work does not.
    for calls in CALLS:
        judged = await judged_outage(found, outages[who], how, calls)
        print(f"\n{who} {how}: {judged}")
        assert judged.complaints(unknown=503 if who == "auth" else 401) == []
        if judged.in_time:
            break
    assert judged.in_time


async def test_the_check_finds_an_inference_that_remembers_no_caller(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        found, outages = await staged(stack, tmp_path, *NO_MEMORY)
        judged = await judged_outage(found, outages["auth"], "killed", 20)
    print(f"\n{judged}")
    assert judged.lost > 0
