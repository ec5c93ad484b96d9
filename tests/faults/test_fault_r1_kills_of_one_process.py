"""R1, in one process: kill -9 at random moments under load loses no usage and doubles none."""

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from headgate_clients.metering import MeteringClient
from headgate_rpc.channel import Options
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_settings import environment
from headgate_testing.bill import Received, all_records, faults_of
from headgate_testing.load import LoadClient
from headgate_testing.provider import Script, ScriptedProvider
from headgate_testing.suite import Suite, SuiteSpec

pytestmark = pytest.mark.faults

KILLS = 100 if environment().get("HEADGATE_FAULTS") == "full" else 20
CLIENTS = 12
CONFIG = """
providers:
  - {{name: scripted, type: openai, base_url: "{url}"}}
models:
  - {{id: fast, provider: scripted}}
  - {{id: slow, provider: scripted}}
"""


class Run:
    """Load on one data folder over several lives of the suite."""

    def __init__(
        self, folder: Path, provider: ScriptedProvider, rng: random.Random, command: tuple[str, ...]
    ) -> None:
        self.provider, self.rng = provider, rng
        self.spec = SuiteSpec(folder, CONFIG.format(url=provider.base_url), command=command)
        self.received: list[Received] = []
        self.running = 0
        self.hit = 0
        self.client = LoadClient("", "")
        self.up = asyncio.Event()
        self.done = False

    async def load(self) -> None:
        """One client: calls as fast as they are answered, while there is a suite."""
        while not self.done:
            await self.up.wait()
            async with httpx2.AsyncClient(timeout=10) as http:
                while self.up.is_set() and not self.done:
                    self.running += 1
                    if self.rng.random() < 0.5:
                        self.received.append(await self.client.whole(http, "fast"))
                    else:
                        self.received.append(await self.client.streamed(http, "slow"))
                    self.running -= 1

    async def live(self, seconds: float) -> None:
        """One life of the suite, ended by SIGKILL."""
        suite = await self.start()
        await asyncio.sleep(seconds)
        self.hit += self.running
        self.up.clear()
        await asyncio.to_thread(suite.kill)

    async def start(self) -> Suite:
        suite = await asyncio.to_thread(self.spec.start)
        self.client.url, self.client.key = suite.url, suite.key
        self.up.set()
        return suite

    async def judge(self, patience_s: float) -> list[str]:
        """Start once more, without load, and compare the three counts."""
        self.done = True
        suite = await self.start()
        emitted: Counter[str] = Counter()
        for request in self.provider.requests:
            emitted[request.headers.get("x-request-id", "")] += request.emitted
        channel = GrpcChannel(suite.grpc)
        metering, options = MeteringClient(channel), Options({"authorization": f"Bearer {suite.key}"})
        faults = ["not looked"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while faults := faults_of(self.received, emitted, await all_records(metering, options)):
                    await asyncio.sleep(0.2)
        await channel.close()
        await asyncio.to_thread(suite.stop)
        return faults


async def run(
    folder: Path, kills: int, command: tuple[str, ...], patience_s: float = 15
) -> tuple[Run, list[str]]:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    print(f"\nseed {seed}")
    async with ScriptedProvider() as provider:
        provider.on("slow", Script(tokens=["word "] * 60, pause=0.003))
        state = Run(folder, provider, rng, command)
        clients = [asyncio.create_task(state.load()) for _ in range(CLIENTS)]
        for _ in range(kills):
            await state.live(rng.uniform(0.05, 0.8))
        state.done = True
        state.up.set()
        await asyncio.gather(*clients)
        faults = await state.judge(patience_s)
    print(
        f"{kills} kills, {state.hit} calls were running when hit, {len(state.received)} calls in all, "
        f"{sum(r.completed for r in state.received)} completed, {len(faults)} faults"
    )
    return state, faults


async def test_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    state, faults = await run(tmp_path, KILLS, ("-m", "headgate_suite", "up"))
    assert state.hit >= KILLS
    assert faults == []


async def test_the_check_finds_a_suite_that_answers_before_it_writes(tmp_path: Path) -> None:
    _, faults = await run(tmp_path, 2, (str(Path(__file__).with_name("ack_first.py")),), patience_s=2)
    assert faults
