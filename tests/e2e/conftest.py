"""One suite for the whole folder, in each shape in turn: real commands in processes of their own, in front of a
scripted provider. A test that is about one shape only says so: `@pytest.mark.parametrize("suite", ["one"],
indirect=True)`."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from headgate_settings import environment
from headgate_testing import otlp
from headgate_testing.cluster import ClusterSpec, running_cluster
from headgate_testing.databases import throw_away_database
from headgate_testing.otlp import Collector
from headgate_testing.provider import ScriptedProvider
from headgate_testing.shapes import EDGE, SCALED, SEPARATE
from headgate_testing.suite import AnySuite, SuiteSpec

SHAPES = [
    "one",
    pytest.param("edge", marks=pytest.mark.shapes),
    pytest.param("separate", marks=pytest.mark.shapes),
    pytest.param("scaled", marks=[pytest.mark.shapes, pytest.mark.servers]),
]
BY_NAME = {shape.name: shape for shape in (EDGE, SEPARATE, SCALED)}

CONFIG = """
providers:
  - {{name: scripted, type: openai, base_url: "{url}", timeout: {{first_token: 1s, idle: 1s, total: 20s}}}}
  - {{name: hurried, type: openai, base_url: "{url}", timeout: {{first_token: 1s, idle: 1s, total: 4s}}}}
  - {{name: nowhere, type: openai, base_url: "http://127.0.0.1:9/v1"}}
models:
  - {{id: gpt-4, provider: scripted, context_length: 8192, capabilities: [chat, tools, json],
     price: {{input_per_1m: 30, output_per_1m: 60}}}}
  - {{id: broken, provider: scripted}}
  - {{id: dead, provider: nowhere}}
  - {{id: slow, provider: hurried}}
  - {{id: text-embedding-ada-002, provider: scripted, type: embedding}}
aliases: {{claude-3: gpt-4}}
routing: {{fallbacks: {{dead: [gpt-4]}}}}
policies:
  tiny: {{limits: {{default: {{requests_per_minute: 3}}}}}}
  few-tokens: {{limits: {{default: {{requests_per_minute: 100, tokens_per_minute: 1000}}}}}}
"""


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Variables that name a database of our own and a numbered one of Redis."""
    redis = environment().get("HEADGATE_TEST_REDIS") or "redis://127.0.0.1:6379"
    with throw_away_database() as url:
        yield {
            "HEADGATE_DATABASE_URL": url,
            "HEADGATE_REDIS_URL": urlsplit(redis)._replace(path=f"/{random.randrange(1, 16)}").geturl(),
        }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def collector() -> AsyncIterator[Collector]:
    async with otlp.collector() as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=SHAPES)
async def suite(
    request: pytest.FixtureRequest,
    provider: ScriptedProvider,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[AnySuite]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    config = CONFIG.format(url=provider.base_url)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    if request.param == "one":
        suite = await asyncio.to_thread(SuiteSpec(folder, config, variables).start)
        yield suite
        await asyncio.to_thread(suite.process.end)
        return
    shape = BY_NAME[request.param]
    async with AsyncExitStack() as stack:
        urls = stack.enter_context(servers()) if shape.servers else {}
        spec = ClusterSpec(folder, shape, config, {**variables, **urls})
        yield await stack.enter_async_context(running_cluster(spec))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def openai(suite: AnySuite) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key=suite.key, max_retries=0) as client:
        yield client
