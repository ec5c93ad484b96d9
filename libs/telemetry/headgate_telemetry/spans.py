"""Records to OTLP spans, without the SDK, whose spans cost several times the request itself. Field numbers are
those of opentelemetry/proto/trace/v1/trace.proto; a test holds every span against the SDK's own."""

import struct
from collections.abc import Hashable, Mapping

from headgate_telemetry import attributes, wire
from headgate_telemetry.attributes import Attributes, Value
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext

SCOPE = "headgate"

_SERVER = b"\x30\x02"
_CLIENT = b"\x30\x03"
_ERROR = b"\x18\x02"
_ATTRIBUTES = b"\x4a"
_FRAGMENTS_LIMIT = 4096

# start_time_unix_nano and end_time_unix_nano with their tags.
_TIMES = struct.Struct("<cQcQ").pack


class SpanEncoder:
    """Collects spans for one export request; `take` hands it over and begins the next."""

    def __init__(self, resource: Mapping[str, Value]) -> None:
        self._resource = wire.field(b"\x0a", wire.attributes(b"\x0a", resource))
        self._scope = wire.field(b"\x0a", wire.field(b"\x0a", SCOPE.encode()))
        self._spans: list[bytes] = []
        self._fragments: dict[Hashable, bytes] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def take(self) -> tuple[bytes, int]:
        """The serialised ExportTraceServiceRequest and how many spans it holds."""
        of_scope = wire.field(b"\x12", self._scope + b"".join(self._spans))
        count = len(self._spans)
        self._spans.clear()
        return wire.field(b"\x0a", self._resource + of_scope), count

    def add_edge(self, edge: EdgeRecord) -> None:
        """The server span of an HTTP request."""
        combination = (edge.method, edge.route, edge.http_status, edge.reason)
        fragment = self._fragments.get(combination)
        if fragment is None:
            fixed = attributes.edge_fixed(edge)
            fragment = _fragment(attributes.edge_name(edge), _SERVER, fixed, edge.reason)
            self._remember(combination, fragment)
        variable = wire.attributes(_ATTRIBUTES, attributes.edge_variable(edge))
        self._add(edge.trace, edge.started_ns, edge.ended_ns, fragment + variable)

    def add_call(self, call: CallRecord) -> None:
        """The server span of an RPC and one client span below it for each attempt."""
        combination = (
            call.service, call.method, call.endpoint, call.account_id, call.key_prefix, call.reason,
            call.operation, call.model, call.requested_model, call.provider, call.streamed, call.estimated,
            call.finish_reasons, call.outcome, call.message,
        )  # fmt: skip
        fragment = self._fragments.get(combination)
        if fragment is None:
            fixed = attributes.call_fixed(call)
            fragment = _fragment(attributes.call_name(call), _SERVER, fixed, call.reason, call.message)
            self._remember(combination, fragment)
        variable = wire.attributes(_ATTRIBUTES, attributes.call_variable(call))
        self._add(call.trace, call.started_ns, call.ended_ns, fragment + variable)
        for attempt in call.attempts:
            self._add_attempt(call, attempt)

    def _add_attempt(self, call: CallRecord, attempt: AttemptRecord) -> None:
        combination = (
            call.operation, attempt.model, attempt.provider, attempt.upstream_id, attempt.number,
            attempt.server_address, attempt.http_status, attempt.outcome, attempt.reason,
        )  # fmt: skip
        fragment = self._fragments.get(combination)
        if fragment is None:
            fixed = attributes.attempt_fixed(call, attempt)
            fragment = _fragment(attributes.attempt_name(call, attempt), _CLIENT, fixed, attempt.reason)
            self._remember(combination, fragment)
        self._add(attempt.trace, attempt.started_ns, attempt.ended_ns or call.ended_ns, fragment)

    def _add(self, trace: TraceContext, started_ns: int, ended_ns: int, rest: bytes) -> None:
        parent = b"\x22\x08" + bytes.fromhex(trace.parent_span_id) if trace.parent_span_id else b""
        ids = b"\x0a\x10%b\x12\x08%b%b" % (
            bytes.fromhex(trace.trace_id), bytes.fromhex(trace.span_id), parent
        )  # fmt: skip
        self._spans.append(wire.field(b"\x12", ids + _TIMES(b"\x39", started_ns, b"\x41", ended_ns) + rest))

    def _remember(self, combination: Hashable, fragment: bytes) -> None:
        # Callers choose some of the values, so the memory is bounded by starting over.
        if len(self._fragments) >= _FRAGMENTS_LIMIT:
            self._fragments.clear()
        self._fragments[combination] = fragment


def _fragment(name: str, kind: bytes, fixed: Attributes, reason: str, message: str = "") -> bytes:
    """What calls of one combination share: name, kind, attributes, status."""
    encoded = wire.field(b"\x2a", wire.text(name)) + kind + wire.attributes(_ATTRIBUTES, fixed)
    if reason:
        encoded += wire.field(b"\x7a", wire.field(b"\x12", wire.text(message or reason)) + _ERROR)
    return encoded
