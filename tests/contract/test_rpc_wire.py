"""What only a wire can do to a call: peers that die, stop, leave, or are somebody else. A caller of the suite sees
an answer, or SERVICE_UNAVAILABLE with a time to come back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headgate.inference.v1 import inference_pb2, inference_pb2_grpc
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
from headgate.routing.v1 import routing_pb2
from headgate.routing.v1.routing_pb2 import Route, WatchRoutesRequest, WatchRoutesResponse
from headgate_clients.inference import InferenceClient
from headgate_clients.routing import RoutingClient
from headgate_rpc.call import CallContext
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.grpc_options import CHANNEL_OPTIONS, INFERENCE_OPTIONS, ChannelOptions
from headgate_rpc.host import Host
from headgate_rpc.server import RpcServer, ServerOptions
from headgate_rpc.status import details_of
from headgate_rpc.watch import WatchSource
from headgate_testing.proxy import Proxy

INFERENCE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
ROUTING = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"]

# For tests of silence. Elsewhere a test process that stands still for a moment must not look like a silent peer.
FAST = ChannelOptions(keepalive_s=0.1, keepalive_timeout_s=0.5, connect_s=0.5, most_backoff_s=0.2)
SERVER = ServerOptions(min_ping_interval_ms=10, drain_wait_s=0.2)


class Open:
    """A gate and an observer that let everybody in."""

    async def admit(self, call: CallContext) -> None:
        pass

    def started(self, call: CallContext) -> None:
        pass

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        pass


class Replica:
    """Inference and routing; models named `wait` go on when `go` is set."""

    def __init__(self, options: ServerOptions = SERVER) -> None:
        self.calls: list[CallContext] = []
        self.peers: set[str] = set()
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.source: WatchSource[Route] = WatchSource(heartbeat_s=0.05)
        host = Host(Open(), Open())
        host.add(INFERENCE, self)
        host.add(ROUTING, self)
        self.server = RpcServer(host, "127.0.0.1:0", options)

    async def start(self) -> str:
        await self.server.start()
        await self.server.set_serving(True)
        return f"127.0.0.1:{self.server.port}"

    async def Generate(self, request: GenerateRequest, call: CallContext) -> GenerateResponse:
        self.calls.append(call)
        self.begun.set()
        if request.spec.model == "wait":
            await self.go.wait()
        return GenerateResponse(model=request.spec.model)

    async def StreamGenerate(
        self, request: StreamGenerateRequest, call: CallContext
    ) -> AsyncIterator[StreamGenerateResponse]:
        self.calls.append(call)
        yield StreamGenerateResponse(events=[StreamEvent(extra_json=b"1")])
        self.begun.set()
        await self.go.wait()
        yield StreamGenerateResponse(events=[StreamEvent(extra_json=b"2")])

    async def Embed(self, request: EmbedRequest, call: CallContext) -> EmbedResponse:
        return EmbedResponse()

    async def CheckCaller(self, request: CheckCallerRequest, call: CallContext) -> CheckCallerResponse:
        return CheckCallerResponse()

    async def WatchRoutes(
        self, request: WatchRoutesRequest, call: CallContext
    ) -> AsyncIterator[WatchRoutesResponse]:
        async for message in self.source.follow(request.position, WatchRoutesResponse):
            yield message


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def replica(stack: AsyncExitStack, options: ServerOptions = SERVER) -> tuple[Replica, str]:
    made = Replica(options)
    address = await made.start()
    stack.push_async_callback(made.server.stop, 0)
    return made, address


def channel(stack: AsyncExitStack, target: str, options: ChannelOptions = CHANNEL_OPTIONS) -> GrpcChannel:
    made = GrpcChannel(target, options=options)
    stack.push_async_callback(made.close)
    return made


def generate(model: str = "m") -> GenerateRequest:
    return GenerateRequest(spec=GenerationSpec(model=model))


STREAM = StreamGenerateRequest(spec=GenerationSpec(model="m"))


async def refusal(client: InferenceClient, request: GenerateRequest) -> HeadgateError:
    with pytest.raises(HeadgateError) as refused:
        await client.generate(request)
    return refused.value


# The one re-send.


class Scripted:
    """A bare gRPC server that fails as told: each entry is for one call, then all go well."""

    def __init__(self, *script: Callable[[Any], Any]) -> None:
        self.script = list(script)
        self.call_ids: list[str] = []
        self.hung = asyncio.Event()

    async def start(self, stack: AsyncExitStack) -> str:
        server = grpc.aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Generate": grpc.unary_unary_rpc_method_handler(self.unary),
            "StreamGenerate": grpc.unary_stream_rpc_method_handler(self.stream),
        }
        generic = grpc.method_handlers_generic_handler(INFERENCE.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 0)
        return f"127.0.0.1:{port}"

    async def _next(self, context: Any) -> None:
        self.call_ids.append(dict(context.invocation_metadata()).get("x-headgate-call-id", ""))
        if self.script:
            await self.script.pop(0)(context)

    async def unary(self, request: bytes, context: Any) -> bytes:
        await self._next(context)
        return GenerateResponse(model="m").SerializeToString()

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        await self._next(context)
        yield StreamGenerateResponse(events=[StreamEvent(extra_json=b"1")]).SerializeToString()

    async def hang(self, context: Any) -> None:
        self.hung.set()
        await asyncio.Event().wait()


def fails(code: grpc.StatusCode) -> Callable[[Any], Any]:
    """No details of ours: trouble of the transport."""
    return lambda context: context.abort(code, "gone")


def says(reason: Reason) -> Callable[[Any], Any]:
    """A refusal by the service itself."""
    error = HeadgateError(reason, "no")
    details = (("grpc-status-details-bin", details_of(error)),)
    return lambda context: context.abort(error.condition.status, "no", details)


def after_metadata(code: grpc.StatusCode) -> Callable[[Any], Any]:
    async def fail(context: Any) -> None:
        await context.send_initial_metadata(())
        await context.abort(code, "gone")

    return fail


UNAVAILABLE, CANCELLED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED

RULES = [
    # what happens, whether calls are re-sent at all, how often the server sees the call, how it ends
    ([fails(UNAVAILABLE)], True, 2, None),
    ([fails(CANCELLED)], True, 2, None),
    ([after_metadata(UNAVAILABLE)], True, 2, None),
    ([fails(UNAVAILABLE), fails(UNAVAILABLE)], True, 2, Reason.SERVICE_UNAVAILABLE),
    ([fails(CANCELLED), fails(CANCELLED)], True, 2, Reason.SERVICE_UNAVAILABLE),
    ([fails(UNAVAILABLE)], False, 1, Reason.SERVICE_UNAVAILABLE),
    ([fails(CANCELLED)], False, 1, Reason.SERVICE_UNAVAILABLE),
    ([says(Reason.SERVICE_UNAVAILABLE)], True, 1, Reason.SERVICE_UNAVAILABLE),
    ([says(Reason.PROVIDER_UNAVAILABLE)], True, 1, Reason.PROVIDER_UNAVAILABLE),
    ([says(Reason.CANCELLED)], True, 1, Reason.CANCELLED),
    ([says(Reason.MODEL_NOT_FOUND)], True, 1, Reason.MODEL_NOT_FOUND),
    ([fails(grpc.StatusCode.NOT_FOUND)], True, 1, Reason.SERVICE_UNAVAILABLE),
    ([fails(grpc.StatusCode.UNAUTHENTICATED)], True, 1, Reason.SERVICE_UNAVAILABLE),
    ([fails(grpc.StatusCode.INTERNAL)], True, 1, Reason.SERVICE_UNAVAILABLE),
    ([fails(grpc.StatusCode.RESOURCE_EXHAUSTED)], True, 1, Reason.SERVICE_UNAVAILABLE),
]


@pytest.mark.parametrize("kind", ["unary", "stream"])
@pytest.mark.parametrize("rule", range(len(RULES)))
async def test_a_lost_call_is_sent_again_once_and_nothing_else_is(
    stack: AsyncExitStack, rule: int, kind: str
) -> None:
    script, resend, seen, reason = RULES[rule]
    server = Scripted(*script)
    client = InferenceClient(
        channel(stack, await server.start(stack), replace(CHANNEL_OPTIONS, resend=resend))
    )
    options = Options({"x-headgate-call-id": "0190b3b2-0000-7000-8000-000000000001"})
    ended: Reason | None = None
    try:
        if kind == "unary":
            await client.generate(generate(), options)
        else:
            messages = [m async for m in await client.stream_generate(STREAM, options)]
            assert len(messages) == 1
    except HeadgateError as error:
        ended = error.reason
    assert ended is reason
    assert server.call_ids == ["0190b3b2-0000-7000-8000-000000000001"] * seen


async def test_a_stream_that_is_refused_does_not_begin(stack: AsyncExitStack) -> None:
    async def refuse_in_two_packets(context: Any) -> None:
        await context.send_initial_metadata(())
        await asyncio.sleep(0.05)
        await says(Reason.PROVIDER_UNAVAILABLE)(context)

    client = InferenceClient(channel(stack, await Scripted(refuse_in_two_packets).start(stack)))
    with pytest.raises(HeadgateError) as refused:
        await client.stream_generate(STREAM)
    assert refused.value.reason is Reason.PROVIDER_UNAVAILABLE


async def test_a_stream_is_not_sent_again_once_a_message_has_come(stack: AsyncExitStack) -> None:
    made, address = await replica(stack)
    client = InferenceClient(channel(stack, address, replace(CHANNEL_OPTIONS, resend=True)))
    reply = await client.stream_generate(STREAM)
    assert (await anext(aiter(reply))).events[0].extra_json == b"1"
    await made.server.stop(0)
    with pytest.raises(HeadgateError) as cut:
        await anext(aiter(reply))
    assert cut.value.reason is Reason.SERVICE_UNAVAILABLE
    assert len(made.calls) == 1


async def test_a_call_that_its_caller_cancels_is_not_sent_again(stack: AsyncExitStack) -> None:
    server = Scripted()
    server.script = [server.hang]
    client = InferenceClient(channel(stack, await server.start(stack), replace(CHANNEL_OPTIONS, resend=True)))
    task = asyncio.ensure_future(client.generate(generate()))
    await server.hung.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await client.generate(generate())
    assert len(server.call_ids) == 2


async def test_a_deadline_covers_the_second_sending_too(stack: AsyncExitStack) -> None:
    server = Scripted()
    server.script = [fails(UNAVAILABLE), server.hang, server.hang]
    client = InferenceClient(channel(stack, await server.start(stack), replace(CHANNEL_OPTIONS, resend=True)))
    with pytest.raises(HeadgateError) as late:
        await client.generate(generate(), Options(timeout=0.3))
    assert late.value.reason is Reason.DEADLINE_EXCEEDED
    assert len(server.call_ids) == 2


# Deadlines.


async def test_a_call_without_a_deadline_gets_one(stack: AsyncExitStack) -> None:
    made, address = await replica(stack)
    client = InferenceClient(channel(stack, address, replace(CHANNEL_OPTIONS, unary_timeout_s=0.2)))
    late = await refusal(client, generate("wait"))
    assert late.reason is Reason.DEADLINE_EXCEEDED
    await client.generate(generate(), Options(timeout=100))
    await client.generate(generate())
    assert [call.deadline is not None for call in made.calls] == [True] * 3
    assert CHANNEL_OPTIONS.unary_timeout_s <= 10 < 1800 < INFERENCE_OPTIONS.unary_timeout_s
    assert INFERENCE_OPTIONS.resend and not CHANNEL_OPTIONS.resend


# Peers that are not there, not answering, or not ours.


async def test_nobody_there_is_said_at_once(stack: AsyncExitStack) -> None:
    gone, address = await replica(stack)
    await gone.server.stop(0)
    client = InferenceClient(channel(stack, address))
    refused = await asyncio.wait_for(refusal(client, generate()), 5)
    assert (refused.reason, refused.retry_after_ms) == (Reason.SERVICE_UNAVAILABLE, 1000)


async def test_a_peer_that_falls_silent_is_noticed_and_then_refused_at_once(stack: AsyncExitStack) -> None:
    made, address = await replica(stack)
    proxy = await stack.enter_async_context(Proxy(address))
    client = InferenceClient(channel(stack, proxy.address, FAST))
    await client.generate(generate())
    running = asyncio.ensure_future(refusal(client, generate("wait")))
    await made.begun.wait()
    proxy.swallow()
    noticed = await asyncio.wait_for(running, 10)
    assert noticed.reason is Reason.SERVICE_UNAVAILABLE, "long before the deadline"
    again = await asyncio.wait_for(refusal(client, generate()), 10)
    assert again.reason is Reason.SERVICE_UNAVAILABLE
    await proxy.heal()
    async with asyncio.timeout(10):
        while True:
            try:
                await client.generate(generate())
                break
            except HeadgateError as error:
                assert error.reason is Reason.SERVICE_UNAVAILABLE


async def test_a_silent_replica_costs_no_call_when_there_is_another(stack: AsyncExitStack) -> None:
    _, first = await replica(stack)
    _, second = await replica(stack)
    proxy = await stack.enter_async_context(Proxy(first))
    client = InferenceClient(channel(stack, f"ipv4:{proxy.address},{second}", replace(FAST, resend=True)))
    await asyncio.gather(*(client.generate(generate()) for _ in range(20)))
    proxy.swallow()
    await asyncio.wait_for(asyncio.gather(*(client.generate(generate()) for _ in range(50))), 20)


async def test_the_servers_rules_for_pings_allow_our_clients() -> None:
    assert ServerOptions().min_ping_interval_ms <= CHANNEL_OPTIONS.keepalive_s * 1000 / 2


async def test_a_server_that_does_not_know_the_method_looks_like_one_that_is_away(
    stack: AsyncExitStack,
) -> None:
    host = Host(Open(), Open())
    server = RpcServer(host, "127.0.0.1:0", SERVER)
    await server.start()
    await server.set_serving(True)
    stack.push_async_callback(server.stop, 0)
    client = InferenceClient(channel(stack, f"127.0.0.1:{server.port}"))
    assert (await refusal(client, generate())).reason is Reason.SERVICE_UNAVAILABLE


# Coming and going.


async def test_traffic_goes_where_health_says_serving(stack: AsyncExitStack) -> None:
    first, address = await replica(stack)
    second, other = await replica(stack)
    client = InferenceClient(channel(stack, f"ipv4:{address},{other}"))
    async with asyncio.timeout(10):
        while not (first.calls and second.calls):
            await client.generate(generate())
    await first.server.set_serving(False)
    async with asyncio.timeout(10):
        seen = -1
        while len(first.calls) != seen:
            seen = len(first.calls)
            for _ in range(20):
                await client.generate(generate())
    await first.server.set_serving(True)
    async with asyncio.timeout(10):
        while len(first.calls) == seen:
            await client.generate(generate())


async def test_a_server_serves_nobody_before_it_says_so(stack: AsyncExitStack) -> None:
    made = Replica()
    await made.server.start()
    stack.push_async_callback(made.server.stop, 0)
    client = InferenceClient(channel(stack, f"127.0.0.1:{made.server.port}"))
    assert (await refusal(client, generate())).reason is Reason.SERVICE_UNAVAILABLE
    await made.server.set_serving(True)
    async with asyncio.timeout(10):
        while not made.calls:
            try:
                await client.generate(generate())
            except HeadgateError as error:
                assert error.reason is Reason.SERVICE_UNAVAILABLE


async def test_a_leaving_server_ends_its_calls_first_and_its_watches_at_once(stack: AsyncExitStack) -> None:
    made, address = await replica(stack)
    connection = channel(stack, address)
    client = InferenceClient(connection)
    watch = await RoutingClient(connection).watch_routes(WatchRoutesRequest())
    unary = asyncio.ensure_future(client.generate(generate("wait")))
    reply = await client.stream_generate(STREAM)
    messages = [await anext(aiter(reply))]
    await made.begun.wait()
    stopping = asyncio.ensure_future(made.server.stop(60))
    with pytest.raises(HeadgateError) as ended:
        async with asyncio.timeout(10):
            async for _ in watch:
                pass
    assert ended.value.reason is Reason.SERVICE_UNAVAILABLE
    assert not unary.done() and not stopping.done()
    made.go.set()
    assert (await asyncio.wait_for(unary, 10)).message.model == "wait"
    messages += [message async for message in reply]
    assert len(messages) == 2
    await asyncio.wait_for(stopping, 10)


async def test_no_call_fails_while_replicas_leave_and_come_back(stack: AsyncExitStack) -> None:
    """Without our re-send: the health watch alone must do."""
    first, address = await replica(stack)
    second, other = await replica(stack)
    client = InferenceClient(channel(stack, f"ipv4:{address},{other}"))
    done = asyncio.Event()

    async def load() -> int:
        calls = 0
        while not done.is_set():
            await client.generate(generate())
            calls += 1
        return calls

    callers = [asyncio.ensure_future(load()) for _ in range(8)]
    async with asyncio.timeout(30):
        while not (first.calls and second.calls):
            await asyncio.sleep(0)
        await first.server.stop(10)
        seen = len(second.calls)
        while len(second.calls) < seen + 100:
            await asyncio.sleep(0)
    done.set()
    print("calls", sum(await asyncio.gather(*callers)))


async def test_a_leaving_server_answers_those_who_have_not_heard_of_it(stack: AsyncExitStack) -> None:
    made, address = await replica(stack, replace(SERVER, drain_wait_s=1.0))
    await InferenceClient(channel(stack, address)).generate(generate())
    deaf = await stack.enter_async_context(grpc.aio.insecure_channel(address))
    check = health_pb2_grpc.HealthStub(deaf).Check
    serving = health_pb2.HealthCheckResponse.SERVING
    assert (await check(health_pb2.HealthCheckRequest())).status == serving
    stopping = asyncio.ensure_future(made.server.stop(10))
    async with asyncio.timeout(10):
        while (await check(health_pb2.HealthCheckRequest())).status == serving:
            pass
    call = inference_pb2_grpc.InferenceServiceStub(deaf).Generate
    assert (await call(generate())).model == "m"
    await asyncio.wait_for(stopping, 10)


async def test_a_server_that_nobody_watches_does_not_wait(stack: AsyncExitStack) -> None:
    made = Replica(replace(SERVER, drain_wait_s=3600))
    await made.start()
    await asyncio.wait_for(made.server.stop(10), 5)


async def test_old_connections_are_left_without_a_failed_call(stack: AsyncExitStack) -> None:
    _, address = await replica(stack, replace(SERVER, max_connection_age_ms=100))
    proxy = await stack.enter_async_context(Proxy(address))
    client = InferenceClient(channel(stack, proxy.address))
    calls = 0
    async with asyncio.timeout(30):
        while proxy.connections < 6:
            await asyncio.gather(*(client.generate(generate()) for _ in range(8)))
            calls += 8
    print("calls", calls)


async def test_a_stream_may_outlive_its_connections_age(stack: AsyncExitStack) -> None:
    made, address = await replica(stack, replace(SERVER, max_connection_age_ms=50))
    proxy = await stack.enter_async_context(Proxy(address))
    client = InferenceClient(channel(stack, proxy.address))
    reply = await client.stream_generate(STREAM)
    messages = [await anext(aiter(reply))]
    async with asyncio.timeout(30):
        while proxy.connections < 3:
            await client.generate(generate())
    made.go.set()
    messages += [message async for message in reply]
    assert len(messages) == 2
