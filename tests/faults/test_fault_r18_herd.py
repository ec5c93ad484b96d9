"""R18: many first calls with one cold key at the same time ask auth once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from headgate_testing.cluster import ClusterSpec
from headgate_testing.scene import Scene, scene
from headgate_testing.shapes import SEPARATE
from headgate_testing.traffic import Answer, Caller, failed, summary

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="function")]

CALLERS = 500
EACH_ASKS = (str(Path(__file__).with_name("each_asks.py")),)
COUNTED = re.compile(r'^headgate_requests_total\{[^}]*method="Authenticate"[^}]*\} (\S+)', re.MULTILINE)


async def asked(found: Scene) -> int:
    """How many times auth was asked who somebody is, since its start."""
    async with httpx2.AsyncClient() as http:
        text = (await http.get(f"{found.cluster.ops_of('auth')[0]}/metrics")).text
    return sum(int(float(number)) for number in COUNTED.findall(text))


async def counted(found: Scene) -> int:
    """The same, once it stands still: counters are written in batches."""
    seen: list[int] = []
    while len(seen) < 5 or len(set(seen[-5:])) > 1:
        seen.append(await asked(found))
        await asyncio.sleep(0.3)
    return seen[-1]


@asynccontextmanager
async def herd(folder: Path, callers: int, *command: str) -> AsyncIterator[tuple[list[Answer], int]]:
    spec = ClusterSpec(folder, SEPARATE, command=command or ("-m", "headgate_suite"))
    async with scene(spec, known_keys=1) as found:
        headers = {"authorization": f"Bearer {found.cluster.key}"}
        async with httpx2.AsyncClient(base_url=found.cluster.url, headers=headers) as http:
            body = {"name": "cold", "scopes": ["inference"], "plan_policy": "enterprise"}
            key = (await http.post("/v1/keys", json=body)).json()["key"]
        before = await counted(found)
        crowd = [Caller(found.port, key) for _ in range(callers)]
        answers = await asyncio.gather(*(caller.call("fast") for caller in crowd))
        yield answers, await counted(found) - before
        for caller in crowd:
            await caller.close()


async def test_five_hundred_first_calls_ask_auth_once(tmp_path: Path) -> None:
    async with herd(tmp_path, CALLERS) as (answers, times):
        print(f"\n{len(answers)} calls, {summary(answers)}; auth was asked {times} times")
        assert failed(answers) == []
        assert times == 1


async def test_the_check_finds_an_inference_in_which_each_call_asks(tmp_path: Path) -> None:
    async with herd(tmp_path, 20, *EACH_ASKS) as (answers, times):
        print(f"\n{len(answers)} calls; auth was asked {times} times")
        assert times > 1
