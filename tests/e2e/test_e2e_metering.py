"""A thousand calls, whole, streamed, failed and abandoned: each has exactly one settled row, and
received <= billed <= emitted."""

import asyncio
import random
from collections import Counter

import httpx2
import pytest

from headgate_clients.metering import MeteringClient
from headgate_rpc.channel import Options
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_testing.bill import Received, all_records, faults_of
from headgate_testing.load import LoadClient
from headgate_testing.provider import Script, ScriptedProvider, error
from headgate_testing.suite import AnySuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLS, CLIENTS = 1000, 16


async def test_every_call_has_one_row_and_is_billed_between_received_and_emitted(
    suite: AnySuite, provider: ScriptedProvider
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    provider.on("broken", error(500))
    provider.on("slow", Script(tokens=["word "] * 40, pause=0.0005))
    plan = [rng.choice(["whole", "stream", "failed", "left", "left"]) for _ in range(CALLS)]
    received = await asyncio.wait_for(run(suite, plan, rng), 120)
    assert len(received) == CALLS
    emitted: Counter[str] = Counter()
    for request in provider.requests:
        emitted[request.headers.get("x-request-id", "")] += request.emitted
    channel = GrpcChannel(suite.target("metering"))
    metering, options = MeteringClient(channel), Options({"authorization": f"Bearer {suite.key}"})
    async with asyncio.timeout(5):
        while faults := faults_of(received, emitted, await all_records(metering, options)):
            await asyncio.sleep(0.05)  # the last batch may be on its way to the ledger
    await channel.close()
    assert faults == []
    assert sum(one.completed for one in received) > CALLS / 4
    assert sum(not one.completed and one.pieces > 0 for one in received) > CALLS / 4


async def run(suite: AnySuite, plan: list[str], rng: random.Random) -> list[Received]:
    received: list[Received] = []
    client = LoadClient(suite.url, suite.key)

    async def work() -> None:
        async with httpx2.AsyncClient(timeout=20) as http:
            while plan:
                kind = plan.pop()
                if kind == "whole":
                    received.append(await client.whole(http, "gpt-4"))
                elif kind == "left":
                    received.append(await client.streamed(http, "slow", leave_after=rng.randint(1, 30)))
                else:
                    received.append(await client.streamed(http, "broken" if kind == "failed" else "gpt-4"))

    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    return received
