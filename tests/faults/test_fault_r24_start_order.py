"""R24: services may start in any order, and each is ready within 10 s of the last start."""

import random
import time
from pathlib import Path

import pytest

from headgate_testing.cluster import Cluster, ClusterSpec
from headgate_testing.provider import ScriptedProvider
from headgate_testing.scene import CONFIG, Scene, bound, count
from headgate_testing.shapes import SEPARATE

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="function")]

ORDERS = count(3, 20)
PATIENCE_S = 10
GIVES_UP = (str(Path(__file__).with_name("gives_up.py")),)


async def start_in_some_order(cluster: Cluster, rng: random.Random) -> float:
    """Seconds from the last start until all are ready. Raises RuntimeError when one is not, or has crashed."""
    names = list(cluster.processes)
    rng.shuffle(names)
    order = [(name, rng.uniform(0.0, 0.7)) for name in names]
    pauses = sum(pause for _, pause in order)
    began = time.monotonic()
    await cluster.start(order)
    print(f"{' '.join(names)}: {time.monotonic() - began - pauses:.1f} s")
    return time.monotonic() - began - pauses


async def test_any_order_will_do(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    async with ScriptedProvider() as provider:
        for number in range(ORDERS):
            # Every other one on folders that know nothing yet.
            folder = tmp_path / f"{number // 2}"
            spec = ClusterSpec(folder, SEPARATE, CONFIG.format(url=provider.base_url))
            cluster = spec.build()
            try:
                assert await start_in_some_order(cluster, rng) <= bound(PATIENCE_S)
                print(f"all works after {await Scene(cluster, provider).back_to_normal():.1f} s more")
                assert all(process.alive for process in cluster.processes.values())
                assert "Traceback" not in cluster.logs()
            finally:
                for process in cluster.processes.values():
                    process.kill()


async def test_the_check_finds_services_that_want_the_others_to_be_there(tmp_path: Path) -> None:
    cluster = ClusterSpec(tmp_path, SEPARATE, command=GIVES_UP).build()
    order = [("routing-0", 0.0), *((name, 0.5) for name in cluster.processes if name != "routing-0")]
    try:
        with pytest.raises(RuntimeError, match="did not start"):
            await cluster.start(order)
    finally:
        await cluster.end()
