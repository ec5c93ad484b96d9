"""R1 over processes: kill -9 of any service at random moments under load loses no usage and doubles none. Two
inferences run, so that a call whose inference was killed may be sent again to the other."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from headgate_testing.cluster import ClusterSpec
from headgate_testing.process import Process
from headgate_testing.scene import count, scene
from headgate_testing.shapes import SEPARATE
from headgate_testing.traffic import Traffic, failed, summary

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="function")]

KILLS = count(20, 100)
SHAPE = replace(SEPARATE, replicas={"inference": 2})
HONEST = ("-m", "headgate_suite")
ACK_FIRST = (str(Path(__file__).with_name("ack_first.py")),)


class Killer:
    """Kills processes of a cluster under load and starts them again on their addresses; at most two are on their
    way up at a time, so that there is work to hit."""

    def __init__(self, victims: list[Process], rng: random.Random) -> None:
        self.ready = victims
        self.rng = rng
        self.killed: Counter[str] = Counter()
        self._starting: set[asyncio.Task[None]] = set()

    async def kill_one(self, traffic: Traffic) -> None:
        """SIGKILL to one that is ready, at a random moment at which calls are running."""
        while len(self._starting) > 1 or not self.ready:
            await asyncio.wait(self._starting, return_when=asyncio.FIRST_COMPLETED)
        victim = self.ready.pop(self.rng.randrange(len(self.ready)))
        await asyncio.sleep(self.rng.uniform(0.05, 0.25))
        while traffic.running < traffic.callers // 3:  # a kill that hits no work does not count
            await asyncio.sleep(0.002)
        await asyncio.to_thread(victim.kill)
        self.killed[victim.name] += 1
        task = asyncio.create_task(self._start(victim))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def all_ready(self) -> None:
        """Wait for those that are on their way up."""
        await asyncio.gather(*self._starting)

    async def _start(self, victim: Process) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, 0.2))
        await asyncio.to_thread(victim.start)
        self.ready.append(victim)


async def run(
    folder: Path, kills: int, command: tuple[str, ...], victims: str = "", patience_s: float = 30.0
) -> list[str]:
    seed = random.randrange(2**32)
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    async with scene(ClusterSpec(folder, SHAPE, command=command)) as found:
        processes = found.cluster.processes.values()
        killer = Killer([process for process in processes if process.name.startswith(victims)], rng)
        traffic = found.traffic(rate=120, streams=0.7)
        async with traffic.flowing():
            await asyncio.sleep(1)
            for _ in range(kills):
                await killer.kill_one(traffic)
            await killer.all_ready()
        faults = await found.unbilled([answer.received for answer in traffic.answers], patience_s)
    cut = [answer for answer in failed(traffic.answers) if answer.status == 200 or not answer.status]
    print(f"kills {dict(killer.killed)}; {len(traffic.answers)} calls, {len(cut)} of them cut short")
    print(f"callers saw: {summary(traffic.answers)}; {len(faults)} faults: {faults[:5]}")
    assert cut
    return faults


async def test_kills_of_any_service_lose_and_double_nothing(tmp_path: Path) -> None:
    assert await run(tmp_path, KILLS, HONEST) == []


async def test_the_check_finds_an_inference_that_answers_before_it_writes(tmp_path: Path) -> None:
    assert await run(tmp_path, 2, ACK_FIRST, victims="inference", patience_s=3)
