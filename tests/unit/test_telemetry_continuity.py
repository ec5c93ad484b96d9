"""One request through two processes is one trace: the gateway's record and those of the service it called over gRPC
share the trace, and each span hangs below the one that caused it."""

import uuid
from collections.abc import AsyncIterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headgate.inference.v1 import inference_pb2
from headgate.inference.v1.inference_pb2 import (
    CheckCallerRequest,
    CheckCallerResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    GenerationSpec,
    StreamGenerateRequest,
    StreamGenerateResponse,
)
from headgate_clients.inference import InferenceClient
from headgate_clock import SystemClock
from headgate_gateway.asgi import AsgiWire
from headgate_gateway.exchange import Edge, Exchange
from headgate_rpc.call import CallContext
from headgate_rpc.channel import NO_OPTIONS, Options
from headgate_rpc.errors import HeadgateError
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.host import Host
from headgate_rpc.server import RpcServer
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord
from headgate_telemetry.resource import resource_attributes
from headgate_telemetry.spans import SpanEncoder
from headgate_telemetry.trace import child_of, format_traceparent, parse_traceparent

CALLER = "00f067aa0ba902b7"


class Inference:
    """A servicer that tries one provider and remembers what it would send there."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def _attempt(self, call: CallContext) -> None:
        trace = child_of(call.trace)
        self.sent.append(format_traceparent(trace))
        started = call.record.started_ns
        call.record.attempts.append(AttemptRecord(1, "p", "m", "u", trace, started, started + 1))

    async def Generate(self, request: GenerateRequest, call: CallContext) -> GenerateResponse:
        self._attempt(call)
        return GenerateResponse(model="m")

    async def StreamGenerate(
        self, request: StreamGenerateRequest, call: CallContext
    ) -> AsyncIterator[StreamGenerateResponse]:
        self._attempt(call)
        yield StreamGenerateResponse()

    async def Embed(self, request: EmbedRequest, call: CallContext) -> EmbedResponse:
        self._attempt(call)
        return EmbedResponse()

    async def CheckCaller(self, request: CheckCallerRequest, call: CallContext) -> CheckCallerResponse:
        return CheckCallerResponse()


class Door:
    """Lets everybody in and keeps the records, as the process of the service would."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    async def admit(self, call: CallContext) -> None: ...

    def started(self, call: CallContext) -> None: ...

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        call.record.ended_ns = call.record.started_ns + 2
        self.records.append(call.record)


class TwoProcesses:
    """The gateway's side and the service's side of one gRPC connection."""

    def __init__(self, client: InferenceClient, door: Door, inference: Inference) -> None:
        self.client, self.door, self.inference = client, door, inference
        self.edges: list[EdgeRecord] = []

    def exchange(self, headers: list[tuple[bytes, bytes]]) -> Exchange:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
        }
        return Exchange(Edge(SystemClock(), self.edges.append), AsgiWire(scope, self._never, self._send))

    async def _send(self, message: object) -> None:
        raise AssertionError

    async def _never(self) -> dict[str, object]:
        raise AssertionError

    def spans(self):
        """Each side's spans, as a collector would get them from it, in the order of the records."""
        here, there = (SpanEncoder(resource_attributes(name, "0")) for name in ("gateway", "inference"))
        for edge in self.edges:
            here.add_edge(edge)
        for record in self.door.records:
            there.add_call(record)
        requests = [ExportTraceServiceRequest.FromString(each.take()[0]) for each in (here, there)]
        return [list(request.resource_spans[0].scope_spans[0].spans) for request in requests]


@pytest.fixture
async def two():
    door, inference = Door(), Inference()
    host = Host(door, door)
    host.add(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"], inference)
    server = RpcServer(host, "127.0.0.1:0")
    await server.start()
    await server.set_serving(True)
    channel = GrpcChannel(f"127.0.0.1:{server.port}")
    yield TwoProcesses(InferenceClient(channel), door, inference)
    await channel.close()
    await server.stop(0)


async def call_both_ways(client: InferenceClient, options: Options) -> None:
    spec = GenerationSpec(model="m")
    await client.generate(GenerateRequest(spec=spec), options)
    stream = await client.stream_generate(StreamGenerateRequest(spec=spec), options)
    async for _ in stream:
        pass
    await stream.aclose()


@pytest.mark.parametrize("sampled", [True, False])
async def test_gateway_service_and_provider_are_one_tree(two, sampled):
    trace_id = uuid.uuid4().hex
    traceparent = f"00-{trace_id}-{CALLER}-{'01' if sampled else '00'}"
    exchange = two.exchange([(b"traceparent", traceparent.encode())])
    await call_both_ways(two.client, exchange.options())
    exchange.finish()

    (edge,), (whole, first, streamed, second) = two.spans()
    assert {span.trace_id.hex() for span in (edge, whole, first, streamed, second)} == {trace_id}
    assert edge.parent_span_id.hex() == CALLER
    assert whole.parent_span_id == streamed.parent_span_id == edge.span_id
    assert first.parent_span_id == whole.span_id
    assert second.parent_span_id == streamed.span_id
    assert len({span.span_id for span in (edge, whole, first, streamed, second)}) == 5
    assert {record.trace.sampled for record in (*two.edges, *two.door.records)} == {sampled}
    for sent, attempt in zip(two.inference.sent, (first, second), strict=True):
        provider_sees = parse_traceparent(sent)
        assert provider_sees is not None
        assert (provider_sees.trace_id, provider_sees.span_id) == (trace_id, attempt.span_id.hex())
        assert provider_sees.sampled is sampled


async def test_a_request_without_a_trace_begins_one_that_the_service_continues(two):
    exchange = two.exchange([])
    await call_both_ways(two.client, exchange.options())
    exchange.finish()
    (edge,), (whole, *_) = two.spans()
    assert edge.parent_span_id == b""
    assert (whole.trace_id, whole.parent_span_id) == (edge.trace_id, edge.span_id)
    assert two.edges[0].request_id == two.door.records[0].request_id


async def test_a_direct_caller_without_a_trace_is_a_root(two):
    await two.client.generate(GenerateRequest(spec=GenerationSpec(model="m")), NO_OPTIONS)
    _, (rpc, attempt) = two.spans()
    assert rpc.parent_span_id == b""
    assert (attempt.trace_id, attempt.parent_span_id) == (rpc.trace_id, rpc.span_id)
