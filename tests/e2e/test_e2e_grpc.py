"""A plain grpc.aio client with the generated stubs and a key in metadata: nothing of ours on its side."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx2
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from headgate.inference.v1.inference_pb2 import (
    EmbedRequest,
    GenerateRequest,
    GenerationSpec,
    Message,
    Role,
    StreamGenerateRequest,
)
from headgate.inference.v1.inference_pb2_grpc import InferenceServiceStub
from headgate.metering.v1.metering_pb2 import AcquireLeasesRequest
from headgate.metering.v1.metering_pb2_grpc import MeteringServiceStub
from headgate_testing.provider import Script, ScriptedProvider
from headgate_testing.shapes import SERVICES
from headgate_testing.suite import AnySuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def channel(suite: AnySuite) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(suite.grpc) as opened:
        yield opened


def spec(model: str = "gpt-4") -> GenerationSpec:
    return GenerationSpec(model=model, messages=[Message(role=Role.ROLE_USER, text="Hello!")])


def credential(suite: AnySuite) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {suite.key}"),)


def full_name(service: str) -> str:
    return f"headgate.{service}.v1.{service.title()}Service"


def reason_of(fault: grpc.aio.AioRpcError) -> str:
    status: Any = rpc_status.from_call(fault)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info) and info.domain == "headgate"
    return str(info.reason)


async def test_generate_whole_with_ids_and_limits_in_metadata(
    suite: AnySuite, channel: grpc.aio.Channel
) -> None:
    call = InferenceServiceStub(channel).Generate(GenerateRequest(spec=spec()), metadata=credential(suite))
    reply = await call
    metadata = dict(await call.initial_metadata())
    assert reply.choices[0].message.text == "Hello from the provider."
    assert reply.usage.output_tokens == 5
    assert metadata["x-model-provider"] == "scripted" and metadata["x-ratelimit-limit"] == "2147483647"


async def test_stream_generate_joins_to_the_whole(suite: AnySuite, channel: grpc.aio.Channel) -> None:
    call = InferenceServiceStub(channel).StreamGenerate(
        StreamGenerateRequest(spec=spec()), metadata=credential(suite)
    )
    text, usage = "", 0
    async for reply in call:
        for event in reply.events:
            usage = event.usage.output_tokens or usage
            text += "".join(choice.text for choice in event.choices)
    assert text == "Hello from the provider." and usage == 5


async def test_embed(suite: AnySuite, channel: grpc.aio.Channel) -> None:
    request = EmbedRequest(model="local-minilm", texts=["one", "two"])
    reply = await InferenceServiceStub(channel).Embed(request, metadata=credential(suite))
    assert [len(embedding.values) for embedding in reply.embeddings] == [384, 384]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [((), "UNAUTHORIZED"), ((("authorization", "Bearer sk-hg-wrong"),), "INVALID_CREDENTIALS")],
)
async def test_a_bad_key_is_unauthenticated_with_error_info(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await InferenceServiceStub(channel).Generate(GenerateRequest(spec=spec()), metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(refused.value) == reason


async def test_a_deadline_is_honoured_and_reaches_the_provider(
    suite: AnySuite, channel: grpc.aio.Channel, provider: ScriptedProvider
) -> None:
    provider.on("slow", Script(hang=True))
    place = len(provider.requests)
    with pytest.raises(grpc.aio.AioRpcError) as late:
        request = GenerateRequest(spec=spec("slow"))
        await InferenceServiceStub(channel).Generate(request, metadata=credential(suite), timeout=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(provider.requests[place].gone.wait(), 2)


async def test_cancelling_a_stream_reaches_the_provider(
    suite: AnySuite, channel: grpc.aio.Channel, provider: ScriptedProvider
) -> None:
    provider.next(Script(tokens=["tick"] * 50, hang_after=3))
    place = len(provider.requests)
    call = InferenceServiceStub(channel).StreamGenerate(
        StreamGenerateRequest(spec=spec()), metadata=credential(suite)
    )
    await call.read()
    call.cancel()
    await asyncio.wait_for(provider.requests[place].gone.wait(), 2)


async def test_a_grpc_caller_is_limited_and_metered_like_a_rest_caller(
    suite: AnySuite, channel: grpc.aio.Channel
) -> None:
    async with httpx2.AsyncClient(
        base_url=suite.url, headers={"authorization": f"Bearer {suite.key}"}
    ) as rest:
        made = await rest.post("/v1/keys", json={"name": "g", "scopes": ["inference"], "plan_policy": "tiny"})
        metadata = (("x-api-key", made.json()["key"]),)
        stub = InferenceServiceStub(channel)
        before = (await rest.get("/v1/usage")).json()["usage"]["total_requests"]
        for _ in range(3):
            await stub.Generate(GenerateRequest(spec=spec()), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Generate(GenerateRequest(spec=spec()), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(refused.value) == "RATE_LIMIT_EXCEEDED"
        async with asyncio.timeout(2):  # a finished call shows within 2 s (USE-4)
            while (await rest.get("/v1/usage")).json()["usage"]["total_requests"] < before + 3:
                await asyncio.sleep(0.02)


async def test_internal_rpcs_are_closed_to_outsiders(suite: AnySuite) -> None:
    async with grpc.aio.insecure_channel(suite.target("metering")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            stub = MeteringServiceStub(channel)
            await stub.AcquireLeases(AcquireLeasesRequest(), metadata=credential(suite))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("service", SERVICES)
async def test_health_answers_for_every_service(suite: AnySuite, service: str) -> None:
    async with grpc.aio.insecure_channel(suite.target(service)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ["", full_name(service)]:
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", SERVICES)
async def test_reflection_lists_every_service(suite: AnySuite, service: str) -> None:
    async with grpc.aio.insecure_channel(suite.target(service)) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        reply = await anext(aiter(call))
    assert full_name(service) in {found.name for found in reply.list_services_response.service}
