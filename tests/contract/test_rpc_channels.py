"""A servicer cannot tell which transport carries a call, and neither can its caller: one suite over both."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from google.protobuf.message import Message

from headgate.inference.v1 import inference_pb2
from headgate.inference.v1.inference_pb2 import (
    CheckCallerRequest,
    CheckCallerResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    GenerationSpec,
    StreamEvent,
    StreamGenerateRequest,
    StreamGenerateResponse,
)
from headgate_clients.inference import InferenceClient
from headgate_rpc.call import CallContext
from headgate_rpc.channel import Channel, Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_rpc.server import RpcServer, ServerOptions
from headgate_settings import Secret

SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]


class Probe:
    """A servicer that does what the requested model's name says and remembers what it saw."""

    def __init__(self) -> None:
        self.calls: list[CallContext] = []
        self.ended = asyncio.Event()
        self.entered = asyncio.Event()

    async def Generate(self, request: GenerateRequest, call: CallContext) -> GenerateResponse:
        self.calls.append(call)
        call.add_done_callback(self.ended.set)
        call.initial_metadata["x-model-id"] = request.spec.model
        call.trailing_metadata["x-cost"] = "1"
        if request.spec.model == "hang":
            self.entered.set()
            await asyncio.Event().wait()
        if request.spec.model == "refuse":
            raise HeadgateError(Reason.MODEL_NOT_FOUND, "No such model.", field="model")
        if request.spec.model == "bug":
            raise KeyError("a secret of the suite")
        return GenerateResponse(model=request.spec.model)

    async def StreamGenerate(
        self, request: StreamGenerateRequest, call: CallContext
    ) -> AsyncIterator[StreamGenerateResponse]:
        self.calls.append(call)
        call.add_done_callback(self.ended.set)
        call.initial_metadata["x-model-id"] = request.spec.model
        if request.spec.model == "early":
            call.send_initial_metadata()
            await asyncio.Event().wait()
        if request.spec.model == "refuse":
            raise HeadgateError(Reason.MODEL_NOT_FOUND, "No such model.", field="model")
        if request.spec.model == "hang":
            self.entered.set()
            await asyncio.Event().wait()
        for number in range(3):
            yield StreamGenerateResponse(events=[StreamEvent(extra_json=b"%d" % number)])
            if request.spec.model == "cut":
                raise HeadgateError(Reason.UPSTREAM_ERROR, "Cut.")
            if request.spec.model == "pause":
                await asyncio.Event().wait()

    async def Embed(self, request: EmbedRequest, call: CallContext) -> EmbedResponse:
        self.calls.append(call)
        return EmbedResponse(model=request.model)

    async def CheckCaller(self, request: CheckCallerRequest, call: CallContext) -> CheckCallerResponse:
        return CheckCallerResponse()


class Door:
    """A gate and an observer that let everybody in and remember how calls ended."""

    def __init__(self) -> None:
        self.finished_with: list[HeadgateError | None] = []
        self.starts = 0
        self.finish = asyncio.Event()

    async def admit(self, call: CallContext) -> None:
        call.initial_metadata["x-ratelimit-limit"] = "60"
        if "x-refuse" in call.metadata:
            raise HeadgateError(Reason.UNAUTHORIZED, "No credential.")

    def started(self, call: CallContext) -> None:
        self.starts += 1

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        self.finished_with.append(error)
        self.finish.set()


class World:
    def __init__(self, probe: Probe, door: Door, channel: Channel) -> None:
        self.probe, self.door, self.channel = probe, door, channel
        self.client = InferenceClient(channel)


@pytest.fixture(params=["inproc", "grpc"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    probe, door = Probe(), Door()
    host = Host(door, door)
    host.add(SERVICE, probe)
    if request.param == "inproc":
        yield World(probe, door, InprocChannel(host))
        return
    secret = Secret("part-of-the-suite")
    server = RpcServer(host, "127.0.0.1:0", ServerOptions(suite_secret=secret))
    await server.start()
    await server.set_serving(True)
    channel = GrpcChannel(f"127.0.0.1:{server.port}", secret)
    yield World(probe, door, channel)
    await channel.close()
    await server.stop(0)


def generate(model: str) -> GenerateRequest:
    return GenerateRequest(spec=GenerationSpec(model=model))


def stream(model: str) -> StreamGenerateRequest:
    return StreamGenerateRequest(spec=GenerationSpec(model=model))


async def test_metadata_travels_both_ways(world: World) -> None:
    reply = await world.client.generate(
        generate("m"), Options({"x-request-id": "mine-1", "x-else": "é".encode().hex()})
    )
    assert reply.message.model == "m"
    assert reply.metadata["x-request-id"] == "mine-1"
    assert reply.metadata["x-model-id"] == "m"
    assert reply.metadata["x-ratelimit-limit"] == "60"
    assert reply.metadata["x-cost"] == "1"
    assert reply.metadata["x-call-id"] == world.probe.calls[0].call_id
    assert world.probe.calls[0].metadata["x-else"] == "c3a9"


async def test_internal_metadata_counts_only_from_inside(world: World) -> None:
    inside = {
        "x-headgate-client-ip": "203.0.113.9",
        "x-headgate-call-id": "0190b3b2-0000-7000-8000-000000000001",
    }
    await world.client.generate(generate("m"), Options(inside))
    assert world.probe.calls[0].call_id == inside["x-headgate-call-id"]
    assert world.probe.calls[0].record.client_address == "203.0.113.9"
    assert world.probe.calls[0].peer.inside


async def test_a_refusal_keeps_reason_field_and_limit_metadata(world: World) -> None:
    with pytest.raises(HeadgateError) as refused:
        await world.client.generate(generate("refuse"))
    assert (refused.value.reason, refused.value.field) == (Reason.MODEL_NOT_FOUND, "model")
    assert refused.value.metadata["x-ratelimit-limit"] == "60"
    assert "x-call-id" in refused.value.metadata


async def test_an_unknown_fault_leaves_as_a_bare_internal_error(world: World) -> None:
    with pytest.raises(HeadgateError) as fault:
        await world.client.generate(generate("bug"))
    assert fault.value.reason is Reason.INTERNAL_ERROR
    assert "secret" not in fault.value.message


async def test_the_gate_runs_before_the_servicer(world: World) -> None:
    with pytest.raises(HeadgateError) as refused:
        await world.client.generate(generate("m"), Options({"x-refuse": "1"}))
    assert refused.value.reason is Reason.UNAUTHORIZED
    assert world.probe.calls == []


@pytest.mark.parametrize("model", ["hang"])
async def test_a_deadline_ends_a_call_at_both_ends(world: World, model: str) -> None:
    with pytest.raises(HeadgateError) as late:
        await world.client.generate(generate(model), Options(timeout=0.05))
    assert late.value.reason is Reason.DEADLINE_EXCEEDED
    await asyncio.wait_for(world.door.finish.wait(), 5)
    (error,) = world.door.finished_with
    assert error is not None and error.reason is Reason.DEADLINE_EXCEEDED


async def test_the_servicer_knows_how_long_its_caller_waits(world: World) -> None:
    await world.client.generate(generate("m"), Options(timeout=30))
    reply = await world.client.stream_generate(stream("m"), Options(timeout=30))
    await reply.aclose()
    for call in world.probe.calls:
        remaining = call.time_remaining()
        # On the wire gRPC rounds a deadline up, by less than a hundredth.
        assert remaining is not None and 20 < remaining <= 30.3


async def test_a_deadline_ends_a_stream_at_both_ends(world: World) -> None:
    reply = await world.client.stream_generate(stream("pause"), Options(timeout=0.1))
    with pytest.raises(HeadgateError) as late:
        async for _ in reply:
            pass
    assert late.value.reason is Reason.DEADLINE_EXCEEDED
    await asyncio.wait_for(world.door.finish.wait(), 5)
    (error,) = world.door.finished_with
    assert error is not None and error.reason is Reason.DEADLINE_EXCEEDED


async def test_a_cancelled_caller_cancels_the_servicer(world: World) -> None:
    task = asyncio.ensure_future(world.client.generate(generate("hang")))
    await world.probe.entered.wait()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.wait_for(world.probe.ended.wait(), 5)
    (error,) = world.door.finished_with
    assert error is not None and error.reason is Reason.CANCELLED


async def test_a_caller_may_cancel_before_the_first_item(world: World) -> None:
    task = asyncio.ensure_future(world.client.stream_generate(stream("hang")))
    await world.probe.entered.wait()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.wait_for(world.probe.ended.wait(), 5)


async def test_closing_after_the_first_item_cancels_the_servicer(world: World) -> None:
    reply = await world.client.stream_generate(stream("pause"))
    assert (await anext(aiter(reply))).events[0].extra_json == b"0"
    await reply.aclose()
    await asyncio.wait_for(world.probe.ended.wait(), 5)
    (error,) = world.door.finished_with
    assert error is not None and error.reason is Reason.CANCELLED


async def test_a_stream_arrives_in_order_and_ends(world: World) -> None:
    reply = await world.client.stream_generate(stream("m"))
    assert reply.metadata["x-model-id"] == "m"
    assert [m.events[0].extra_json async for m in reply] == [b"0", b"1", b"2"]
    await asyncio.wait_for(world.door.finish.wait(), 5)
    assert world.door.finished_with == [None]


async def test_initial_metadata_can_go_before_the_first_item(world: World) -> None:
    reply = await asyncio.wait_for(world.client.stream_generate(stream("early")), 5)
    assert reply.metadata["x-model-id"] == "early"
    await reply.aclose()


async def test_a_stream_refused_before_its_first_item_fails_when_opened(world: World) -> None:
    with pytest.raises(HeadgateError) as refused:
        await world.client.stream_generate(stream("refuse"))
    assert refused.value.reason is Reason.MODEL_NOT_FOUND
    assert refused.value.metadata["x-ratelimit-limit"] == "60"


async def test_a_fault_after_the_first_item_comes_after_the_first_item(world: World) -> None:
    reply = await world.client.stream_generate(stream("cut"))
    seen: list[Message] = []
    with pytest.raises(HeadgateError) as cut:
        async for message in reply:
            seen.append(message)
    assert len(seen) == 1
    assert cut.value.reason is Reason.UPSTREAM_ERROR


async def test_a_request_is_not_changed_by_the_way(world: World) -> None:
    request = generate("m")
    before = request.SerializeToString(deterministic=True)
    await world.client.generate(request)
    assert request.SerializeToString(deterministic=True) == before


async def test_an_outsider_cannot_pass_for_a_part_of_the_suite() -> None:
    probe, door = Probe(), Door()
    host = Host(door, door)
    host.add(SERVICE, probe)
    server = RpcServer(host, "127.0.0.1:0", ServerOptions(suite_secret=Secret("right")))
    await server.start()
    await server.set_serving(True)
    make: list[Callable[[], GrpcChannel]] = [
        lambda: GrpcChannel(f"127.0.0.1:{server.port}"),
        lambda: GrpcChannel(f"127.0.0.1:{server.port}", Secret("wrong")),
    ]
    for new in make:
        channel = new()
        spoofed = {
            "x-headgate-client-ip": "203.0.113.9",
            "x-headgate-call-id": "mine",
            "x-headgate-endpoint": "x",
        }
        await InferenceClient(channel).generate(generate("m"), Options(spoofed))
        call = probe.calls[-1]
        assert not call.peer.inside
        assert call.record.client_address == "127.0.0.1"
        assert call.call_id != "mine"
        assert call.record.endpoint == "/headgate.inference.v1.InferenceService/Generate"
        await channel.close()
    await server.stop(0)


async def test_a_taken_port_is_an_os_error() -> None:
    host = Host(Door(), Door())
    first = RpcServer(host, "127.0.0.1:0")
    await first.start()
    with pytest.raises(OSError, match="cannot listen"):
        await RpcServer(host, f"127.0.0.1:{first.port}").start()
    await first.stop(0)
