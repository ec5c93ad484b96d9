"""Two replicas of everything behind the gateway are one suite: they share the calls, the keys, the limits and the
ledger."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio

from headgate.inference.v1.inference_pb2 import GenerateRequest, GenerationSpec, Message, Role
from headgate.inference.v1.inference_pb2_grpc import InferenceServiceStub
from headgate_testing.cluster import Cluster

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize(
        "suite", [pytest.param("scaled", marks=[pytest.mark.shapes, pytest.mark.servers])], indirect=True
    ),
]


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(suite: Cluster) -> AsyncIterator[list[InferenceServiceStub]]:
    """A client of each inference."""
    async with AsyncExitStack() as stack:
        addresses = suite.spec.addresses("inference")
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address)) for address in addresses
        ]
        assert len(channels) == 2
        yield [InferenceServiceStub(channel) for channel in channels]


@pytest_asyncio.fixture(loop_scope="session")
async def rest(suite: Cluster) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": f"Bearer {suite.key}"}
    async with httpx2.AsyncClient(base_url=suite.url, headers=headers) as client:
        yield client


async def new_key(rest: httpx2.AsyncClient, plan_policy: str = "enterprise") -> tuple[str, str]:
    body = {"name": "replicas", "scopes": ["inference"], "plan_policy": plan_policy}
    made = (await rest.post("/v1/keys", json=body)).raise_for_status().json()
    return made["id"], made["key"]


def credential(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def generated(replica: InferenceServiceStub, key: str, model: str = "gpt-4") -> grpc.StatusCode:
    spec = GenerationSpec(model=model, messages=[Message(role=Role.ROLE_USER, text="Hello!")])
    while True:
        call: Any = replica.Generate(GenerateRequest(spec=spec), metadata=credential(key))
        code: grpc.StatusCode = await call.code()
        if (
            code is not grpc.StatusCode.UNAVAILABLE
        ):  # a busy machine may make auth or metering late: not a `no`
            return code
        await asyncio.sleep(0.1)


async def test_calls_are_shared_among_the_replicas(suite: Cluster, rest: httpx2.AsyncClient) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}
    async with httpx2.AsyncClient() as client, asyncio.timeout(10):
        for ops in suite.ops_of("inference"):
            while 'method="Generate"' not in (await client.get(f"{ops}/metrics")).text:
                await rest.post("/v1/chat/completions", json=body)


async def test_a_key_works_everywhere_at_once_and_ends_everywhere(
    replicas: list[InferenceServiceStub], rest: httpx2.AsyncClient
) -> None:
    for _ in range(5):
        key_id, key = await new_key(rest)
        for replica in replicas:
            assert await generated(replica, key) is grpc.StatusCode.OK
        await rest.delete(f"/v1/keys/{key_id}")
        async with asyncio.timeout(1):
            for replica in replicas:
                while await generated(replica, key) is not grpc.StatusCode.UNAUTHENTICATED:
                    await asyncio.sleep(0.005)


async def test_a_limit_is_one_limit(replicas: list[InferenceServiceStub], rest: httpx2.AsyncClient) -> None:
    admitted = []
    for _ in range(5):  # where metering is late, a call may be let in on credit
        _, key = await new_key(rest, plan_policy="tiny")
        codes = [await generated(replica, key) for _ in range(3) for replica in replicas]
        admitted.append(codes.count(grpc.StatusCode.OK))
    print(f"of 6 calls with a limit of 3 were admitted: {admitted}")
    assert 3 in admitted
    assert min(admitted) == 3


async def test_every_metering_tells_the_same_usage(
    suite: Cluster, replicas: list[InferenceServiceStub], rest: httpx2.AsyncClient
) -> None:
    async def requests() -> int:
        models = (await rest.get("/v1/usage")).json()["usage"]["models"]
        return int(models.get("claude-3", {"requests": 0})["requests"])

    before = await requests()
    for replica in replicas:
        assert await generated(replica, suite.key, "claude-3") is grpc.StatusCode.OK
    async with asyncio.timeout(2):
        while [await requests(), await requests()] != [before + 2] * 2:
            await asyncio.sleep(0.02)
