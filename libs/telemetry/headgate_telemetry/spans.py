"""Records to OTLP spans, without the SDK: it costs several times the request itself (costs.md section 6 of the
design measured 300 µs against 25). A test holds every span against the SDK's own."""

from collections.abc import Hashable, Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from headgate_telemetry import attributes
from headgate_telemetry.attributes import Attributes, Value
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext
from headgate_telemetry.redact import MAX_TEXT

SCOPE = "headgate"

_FRAGMENTS_LIMIT = 4096
_OK = Status()


class SpanEncoder:
    """Collects spans into one export request; `take` hands it over and begins the next."""

    def __init__(self, resource: Mapping[str, Value]) -> None:
        self._request = ExportTraceServiceRequest()
        of_resource = self._request.resource_spans.add()
        of_resource.resource.attributes.extend(key_values(resource))
        of_scope = of_resource.scope_spans.add()
        of_scope.scope.name = SCOPE
        self._spans = of_scope.spans
        self._fragments: dict[Hashable, bytes] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def take(self) -> tuple[bytes, int]:
        """The serialised ExportTraceServiceRequest and how many spans it holds."""
        count = len(self._spans)
        encoded = self._request.SerializeToString()
        del self._spans[:]
        return encoded, count

    def add_edge(self, edge: EdgeRecord) -> None:
        """The server span of an HTTP request."""
        name = attributes.edge_name(edge)
        span = self._add(name, Span.SPAN_KIND_SERVER, edge.trace, edge.started_ns, edge.ended_ns)
        combination = (name, edge.http_status, edge.reason)
        fragment = self._fragments.get(combination)
        if fragment is None:
            fragment = self._remember(combination, attributes.edge_fixed(edge), edge.reason)
        span.MergeFromString(fragment)
        span.attributes.extend(key_values(attributes.edge_variable(edge)))

    def add_call(self, call: CallRecord) -> None:
        """The server span of an RPC and one client span below it for each attempt."""
        name = attributes.call_name(call)
        span = self._add(name, Span.SPAN_KIND_SERVER, call.trace, call.started_ns, call.ended_ns)
        combination = (
            name, call.endpoint, call.account_id, call.key_prefix, call.reason, call.operation, call.model,
            call.requested_model, call.provider, call.streamed, call.estimated, call.finish_reasons,
            call.outcome, call.message,
        )  # fmt: skip
        fragment = self._fragments.get(combination)
        if fragment is None:
            fragment = self._remember(combination, attributes.call_fixed(call), call.reason, call.message)
        span.MergeFromString(fragment)
        span.attributes.extend(key_values(attributes.call_variable(call)))
        for attempt in call.attempts:
            self._add_attempt(call, attempt)

    def _add_attempt(self, call: CallRecord, attempt: AttemptRecord) -> None:
        name = attributes.attempt_name(call, attempt)
        ended_ns = attempt.ended_ns or call.ended_ns
        span = self._add(name, Span.SPAN_KIND_CLIENT, attempt.trace, attempt.started_ns, ended_ns)
        combination = (
            name, attempt.provider, attempt.upstream_id, attempt.number, attempt.server_address,
            attempt.http_status, attempt.outcome, attempt.reason,
        )  # fmt: skip
        fragment = self._fragments.get(combination)
        if fragment is None:
            fixed = attributes.attempt_fixed(call, attempt)
            fragment = self._remember(combination, fixed, attempt.reason)
        span.MergeFromString(fragment)

    def _add(
        self, name: str, kind: Span.SpanKind.ValueType, trace: TraceContext, started_ns: int, ended_ns: int
    ) -> Span:
        return self._spans.add(
            trace_id=bytes.fromhex(trace.trace_id),
            span_id=bytes.fromhex(trace.span_id),
            parent_span_id=bytes.fromhex(trace.parent_span_id),
            name=name,
            kind=kind,
            start_time_unix_nano=started_ns,
            end_time_unix_nano=ended_ns,
        )

    def _remember(self, combination: Hashable, fixed: Attributes, reason: str, message: str = "") -> bytes:
        # Callers choose some of the values, so the memory is bounded by starting over.
        if len(self._fragments) >= _FRAGMENTS_LIMIT:
            self._fragments.clear()
        status = Status(code=Status.STATUS_CODE_ERROR, message=message or reason) if reason else _OK
        encoded = Span(attributes=key_values(fixed), status=status).SerializeToString()
        self._fragments[combination] = encoded
        return encoded


def key_values(values: Mapping[str, Value]) -> list[KeyValue]:
    """Attributes in OTLP's form, texts cut to the longest that is shown."""
    return [KeyValue(key=key, value=_any_value(value)) for key, value in values.items()]


def _any_value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value[:MAX_TEXT])
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=each[:MAX_TEXT]) for each in value]))
