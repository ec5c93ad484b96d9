"""The oracle of span export: what a service instrumented with OpenTelemetry's own SDK would have sent for the same
calls. It shares no code with the encoder but the records; names are spelled as the conventions have them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from headgate_rpc.errors import CONDITIONS, Reason
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext

LONGEST_TEXT = 256

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_Attributes = dict[str, str | bool | int | float | tuple[str, ...]]


@dataclass(frozen=True)
class _Expected:
    name: str
    kind: SpanKind
    trace: TraceContext
    started_ns: int
    ended_ns: int
    attributes: _Attributes
    error: str


class _GivenIds(IdGenerator):
    def __init__(self) -> None:
        self.next = TraceContext("", "")

    def generate_trace_id(self) -> int:
        return int(self.next.trace_id, 16)

    def generate_span_id(self) -> int:
        return int(self.next.span_id, 16)


def sdk_spans(records: Iterable[EdgeRecord | CallRecord], resource: Mapping[str, str]) -> ResourceSpans:
    """The spans of these records, made and encoded by the SDK."""
    kept = InMemorySpanExporter()
    ids = _GivenIds()
    provider = TracerProvider(
        resource=Resource(dict(resource)),
        id_generator=ids,
        span_limits=SpanLimits(max_span_attribute_length=LONGEST_TEXT),
    )
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("headgate")
    for record in records:
        for each in _expected(record):
            ids.next = each.trace
            context = None
            if each.trace.parent_span_id:
                parent = int(each.trace.trace_id, 16), int(each.trace.parent_span_id, 16)
                context = set_span_in_context(NonRecordingSpan(SpanContext(*parent, True, TraceFlags(1))))
            span = tracer.start_span(
                each.name, context, each.kind, each.attributes, start_time=each.started_ns
            )
            if each.error:
                span.set_status(Status(StatusCode.ERROR, each.error))
            span.end(each.ended_ns)
    request = encode_spans(kept.get_finished_spans())
    provider.shutdown()
    return request.resource_spans[0]


def _expected(record: EdgeRecord | CallRecord) -> Iterator[_Expected]:
    if isinstance(record, EdgeRecord):
        yield _edge(record)
        return
    yield _call(record)
    for attempt in record.attempts:
        yield _attempt(record, attempt)


def _edge(edge: EdgeRecord) -> _Expected:
    method = edge.method if edge.method in _METHODS else "_OTHER"
    attributes: _Attributes = {
        "http.request.method": method,
        "url.scheme": "http",
        "http.response.status_code": edge.http_status,
        "client.address": edge.client_address,
        "headgate.request_id": edge.request_id,
    }
    if edge.route:
        attributes["http.route"] = edge.route
    if edge.reason or edge.http_status >= 500:
        attributes["error.type"] = edge.reason or str(edge.http_status)
    name = f"{method} {edge.route}".strip()
    return _Expected(
        name, SpanKind.SERVER, edge.trace, edge.started_ns, edge.ended_ns, attributes, edge.reason
    )


def _call(call: CallRecord) -> _Expected:
    attributes: _Attributes = {
        "rpc.system": "grpc",
        "rpc.service": call.service,
        "rpc.method": call.method,
        "rpc.grpc.status_code": _grpc_status(call.reason),
        "headgate.endpoint": call.endpoint,
        "headgate.call_id": call.call_id,
        "headgate.request_id": call.request_id,
    }
    if call.account_id:
        attributes |= {"headgate.account_id": call.account_id, "headgate.key_prefix": call.key_prefix}
    if call.reason:
        attributes["error.type"] = call.reason
    if call.operation:
        attributes |= _generation(call)
    error = (call.message or call.reason) if call.reason else ""
    name = f"{call.service}/{call.method}"
    return _Expected(name, SpanKind.SERVER, call.trace, call.started_ns, call.ended_ns, attributes, error)


def _generation(call: CallRecord) -> _Attributes:
    attributes: _Attributes = {
        "gen_ai.operation.name": call.operation,
        "gen_ai.request.model": call.requested_model,
        "gen_ai.request.stream": call.streamed,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "headgate.cost_nano_usd": call.cost_nano_usd,
        "headgate.usage_estimated": call.estimated,
    }
    if call.model:
        attributes["gen_ai.response.model"] = call.model
    if call.provider:
        attributes["gen_ai.provider.name"] = call.provider
    if call.finish_reasons:
        attributes["gen_ai.response.finish_reasons"] = call.finish_reasons
    if call.outcome:
        attributes["headgate.outcome"] = call.outcome
    if call.first_token_ns:
        seconds = (call.first_token_ns - call.started_ns) / 1e9
        attributes["gen_ai.response.time_to_first_chunk"] = seconds
    return attributes


def _attempt(call: CallRecord, attempt: AttemptRecord) -> _Expected:
    operation = call.operation or "chat"
    attributes: _Attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "headgate.upstream_model": attempt.upstream_id,
        "headgate.attempt": attempt.number,
    }
    if attempt.server_address:
        attributes["server.address"] = attempt.server_address
    if attempt.http_status:
        attributes["http.response.status_code"] = attempt.http_status
    if attempt.outcome:
        attributes["headgate.outcome"] = attempt.outcome
    if attempt.reason:
        attributes["error.type"] = attempt.reason
    return _Expected(
        f"{operation} {attempt.model}",
        SpanKind.CLIENT,
        attempt.trace,
        attempt.started_ns,
        attempt.ended_ns or call.ended_ns,
        attributes,
        attempt.reason,
    )


def _grpc_status(reason: str) -> int:
    if not reason:
        return 0
    known = Reason.__members__.get(reason)
    code: int = CONDITIONS[known].status.value[0] if known else 2
    return code
