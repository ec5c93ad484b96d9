"""What autoscalers ask for is told by the very processes that they scale."""

import asyncio
import re

import httpx2
import pytest

from headgate_testing.provider import Script, ScriptedProvider
from headgate_testing.suite import AnySuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}], "stream": True}


async def total(suite: AnySuite, service: str, metric: str) -> float:
    """The sum of a metric over all its labels and all processes of a service."""
    async with httpx2.AsyncClient() as http:
        texts = [(await http.get(f"{ops}/metrics")).text for ops in suite.ops_of(service)]
    assert all(f"# TYPE {metric} " in text for text in texts), f"{service} does not export {metric}"
    values = re.findall(rf"^{metric}(?:\{{[^}}]*\}})? (\S+)$", "\n".join(texts), re.MULTILINE)
    return sum(map(float, values))


async def test_an_open_stream_is_seen_where_it_runs(suite: AnySuite, provider: ScriptedProvider) -> None:
    provider.next(Script(tokens=["tick"] * 5, hang_after=3))
    idle = await total(suite, "inference", "headgate_requests_running")
    assert await total(suite, "gateway", "headgate_http_requests_running") == 0
    headers = {"authorization": f"Bearer {suite.key}"}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        http.stream("POST", f"{suite.url}/v1/chat/completions", json=BODY) as reply,
    ):
        lines = reply.aiter_lines()  # which would end the stream when it is let go
        await anext(lines)
        assert await total(suite, "gateway", "headgate_http_requests_running") == 1
        assert await total(suite, "inference", "headgate_requests_running") == idle + 1
        before = await total(suite, "gateway", "headgate_http_requests_total")
    async with asyncio.timeout(5):
        while await total(suite, "gateway", "headgate_http_requests_running"):
            await asyncio.sleep(0.02)
        # The recorder counts every 50 ms.
        while await total(suite, "gateway", "headgate_http_requests_total") <= before:
            await asyncio.sleep(0.02)
