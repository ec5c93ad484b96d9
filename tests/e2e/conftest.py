"""One suite for the whole folder: the real command in its own process, in front of a scripted provider."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from headgate_testing import otlp
from headgate_testing.otlp import Collector
from headgate_testing.provider import ScriptedProvider
from headgate_testing.suite import Suite, SuiteSpec, running_suite

CONFIG = """
providers:
  - {{name: scripted, type: openai, base_url: "{url}", timeout: {{first_token: 1s, idle: 1s, total: 20s}}}}
  - {{name: nowhere, type: openai, base_url: "http://127.0.0.1:9/v1"}}
models:
  - {{id: gpt-4, provider: scripted, context_length: 8192, capabilities: [chat, tools, json],
     price: {{input_per_1m: 30, output_per_1m: 60}}}}
  - {{id: broken, provider: scripted}}
  - {{id: dead, provider: nowhere}}
  - {{id: slow, provider: scripted}}
  - {{id: text-embedding-ada-002, provider: scripted, type: embedding}}
aliases: {{claude-3: gpt-4}}
routing: {{fallbacks: {{dead: [gpt-4]}}}}
policies:
  tiny: {{limits: {{default: {{requests_per_minute: 3}}}}}}
  few-tokens: {{limits: {{default: {{requests_per_minute: 100, tokens_per_minute: 1000}}}}}}
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def collector() -> AsyncIterator[Collector]:
    async with otlp.collector() as found:
        yield found


@pytest.fixture(scope="session")
def suite(
    provider: ScriptedProvider, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Suite]:
    folder: Path = tmp_path_factory.mktemp("suite")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    with running_suite(SuiteSpec(folder, CONFIG.format(url=provider.base_url), variables)) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def openai(suite: Suite) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key=suite.key, max_retries=0) as client:
        yield client
