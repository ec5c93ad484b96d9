"""The spans of a request are one tree with OpenTelemetry's names, equal to what the SDK would have made."""

import dataclasses

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, rpc_attributes, service_attributes
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace import Status as SdkStatus
from opentelemetry.trace import StatusCode as SdkStatusCode

from headgate_telemetry import attributes, genai
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext
from headgate_telemetry.resource import resource_attributes
from headgate_telemetry.sdk import tracer_provider
from headgate_telemetry.spans import SpanEncoder

START = 1_795_252_320_000_000_000
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
RESOURCE = resource_attributes("headgate", "0.1.0")


def context(number, parent=0):
    return TraceContext(TRACE_ID, f"{number:016x}", f"{parent:016x}" if parent else "")


def edge(**fields):
    record = EdgeRecord(
        "POST",
        "/v1/chat/completions",
        "req-1",
        context(1),
        START,
        START + 9_000_000,
        200,
        "10.0.0.1",
        "",
        True,
    )
    return dataclasses.replace(record, **fields)


def call(**fields):
    record = CallRecord(
        service="headgate.inference.v1.InferenceService", method="StreamGenerate", endpoint="POST /v1/chat/completions",
        request_id="req-1", trace=context(2, 1), started_ns=START + 1_000_000, ended_ns=START + 8_000_000,
        call_id="0199", account_id="acct", key_prefix="sk-hg-abc", operation="chat", requested_model="fast",
        model="gpt-4o-mini", provider="openai", streamed=True, input_tokens=12, output_tokens=3, cost_nano_usd=3600,
        outcome="COMPLETED", finish_reasons=("stop", "length"), first_token_ns=START + 3_500_000,
    )  # fmt: skip
    return dataclasses.replace(record, **fields)


def attempt(number=1, **fields):
    record = AttemptRecord(
        number, "openai", "gpt-4o-mini", "gpt-4o-mini-2024", context(2 + number, 2), START + 2_000_000,
        START + 7_000_000, "api.example.com", 200, "COMPLETED",
    )  # fmt: skip
    return dataclasses.replace(record, **fields)


def encode(*records):
    encoder = SpanEncoder(RESOURCE)
    for record in records:
        encoder.add_edge(record) if isinstance(record, EdgeRecord) else encoder.add_call(record)
    encoded, count = encoder.take()
    request = ExportTraceServiceRequest.FromString(encoded)
    spans = list(request.resource_spans[0].scope_spans[0].spans)
    assert len(spans) == count
    return spans


def values(span):
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        found[each.key] = tuple(v.string_value for v in value.values) if kind == "array_value" else value
    return found


def test_one_request_is_one_tree_from_edge_to_provider():
    edge_span, rpc_span, first, second = encode(
        edge(), call(attempts=[attempt(1, reason="UPSTREAM_ERROR", http_status=503), attempt(2)])
    )
    assert {span.trace_id.hex() for span in (edge_span, rpc_span, first, second)} == {TRACE_ID}
    assert edge_span.parent_span_id == b""
    assert rpc_span.parent_span_id == edge_span.span_id
    assert first.parent_span_id == second.parent_span_id == rpc_span.span_id
    assert first.span_id != second.span_id
    assert [span.name for span in (edge_span, rpc_span, first)] == [
        "POST /v1/chat/completions",
        "headgate.inference.v1.InferenceService/StreamGenerate",
        "chat gpt-4o-mini",
    ]
    assert [span.kind for span in (edge_span, rpc_span, first)] == [
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_CLIENT,
    ]


def test_the_attributes_are_those_of_the_conventions():
    edge_span, rpc_span, try_span = encode(edge(), call(attempts=[attempt()]))
    assert values(edge_span) == {
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": 200,
        "url.scheme": "http", "client.address": "10.0.0.1", "headgate.request_id": "req-1",
    }  # fmt: skip
    assert values(rpc_span) == {
        "rpc.system": "grpc", "rpc.service": "headgate.inference.v1.InferenceService", "rpc.method": "StreamGenerate",
        "rpc.grpc.status_code": 0, "headgate.endpoint": "POST /v1/chat/completions", "headgate.account_id": "acct",
        "headgate.key_prefix": "sk-hg-abc", "headgate.call_id": "0199", "headgate.request_id": "req-1",
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "fast", "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-mini", "gen_ai.provider.name": "openai",
        "gen_ai.response.finish_reasons": ("stop", "length"), "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3, "gen_ai.response.time_to_first_chunk": 0.0025,
        "headgate.cost_nano_usd": 3600, "headgate.outcome": "COMPLETED", "headgate.usage_estimated": False,
    }  # fmt: skip
    assert values(try_span) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
        "headgate.upstream_model": "gpt-4o-mini-2024", "headgate.attempt": 1, "server.address": "api.example.com",
        "http.response.status_code": 200, "headgate.outcome": "COMPLETED",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "status"), [("CANCELLED", 1), ("UPSTREAM_TIMEOUT", 4), ("NEVER_HEARD_OF", 2)]
)
def test_a_failure_marks_every_span_it_passed(reason, status):
    spans = encode(
        edge(reason=reason, http_status=504),
        call(reason=reason, message="Late.", attempts=[attempt(reason=reason, http_status=0, ended_ns=0)]),
    )
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_ERROR}
    assert {values(span)["error.type"] for span in spans} == {reason}
    assert values(spans[1])["rpc.grpc.status_code"] == status
    assert spans[1].status.message == "Late."
    assert "http.response.status_code" not in values(spans[2])
    assert spans[2].end_time_unix_nano == spans[1].end_time_unix_nano  # it ended with its call


def test_a_success_after_a_failure_with_the_same_names_is_a_success():
    spans = encode(call(reason="INTERNAL_ERROR"), call(), call(reason="INTERNAL_ERROR"), call())
    assert [span.status.code for span in spans] == [2, 0, 2, 0]


def test_a_strangers_method_and_path_make_no_new_names():
    (span,) = encode(edge(method="HACK\r\n", route="", http_status=404, reason="NOT_FOUND"))
    assert span.name == "_OTHER"
    assert "http.route" not in values(span)


def test_long_texts_are_cut():
    (span,) = encode(call(requested_model="m" * 100_000, request_id="r" * 100_000))
    assert max(len(value) for value in values(span).values() if isinstance(value, str)) == 256


def test_text_that_is_no_unicode_and_odd_numbers_are_encoded():
    first, second = encode(
        call(request_id="\ud800é😀", requested_model="\udfff", input_tokens=2**63 - 1, output_tokens=-1),
        call(finish_reasons=(), input_tokens=127, output_tokens=128, first_token_ns=0),
    )
    assert values(first)["headgate.request_id"] == "?é😀"
    assert values(first)["gen_ai.request.model"] == "?"
    assert (values(first)["gen_ai.usage.input_tokens"], values(first)["gen_ai.usage.output_tokens"]) == (
        2**63 - 1,
        -1,
    )
    assert (values(second)["gen_ai.usage.input_tokens"], values(second)["gen_ai.usage.output_tokens"]) == (
        127,
        128,
    )


def test_remembered_attributes_stay_bounded():
    encoder = SpanEncoder(RESOURCE)
    for number in range(10_000):
        encoder.add_call(call(requested_model=f"guess{number}"))
    assert len(encoder._fragments) <= 4096
    assert values(ExportTraceServiceRequest.FromString(encoder.take()[0]).resource_spans[0].scope_spans[0].spans[9_999])[
        "gen_ai.request.model"
    ] == "guess9999"  # fmt: skip


def test_names_equal_the_semantic_conventions():
    official = {
        value
        for module in (client_attributes, error_attributes, gen_ai_attributes, http_attributes, rpc_attributes,
                       server_attributes, service_attributes, url_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }  # fmt: skip
    ours = {value for name, value in vars(genai).items() if name.isupper()}
    assert {name for name in ours if not name.startswith("headgate.")} <= official


class FixedIds(IdGenerator):
    """Gives the SDK the ids of our records, in order."""

    def __init__(self, spans):
        self._spans = iter(spans)

    def generate_trace_id(self):
        return int(TRACE_ID, 16)

    def generate_span_id(self):
        return int(next(self._spans), 16)


def through_the_sdk(records):
    """The same spans as the SDK makes and encodes them."""
    kept = InMemorySpanExporter()
    provider = tracer_provider(RESOURCE, None)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    ids = FixedIds(trace.span_id for *_, trace, _, _, _, _ in records)
    # The SDK takes any IdGenerator, but its attribute is inferred as the default one.
    provider.id_generator = ids  # type: ignore[assignment]
    tracer = provider.get_tracer("headgate")
    for name, kind, trace, started, ended, found, error in records:
        parent = None
        if trace.parent_span_id:
            above = SpanContext(int(TRACE_ID, 16), int(trace.parent_span_id, 16), False, TraceFlags(1))
            parent = set_span_in_context(NonRecordingSpan(above))
        span = tracer.start_span(name, parent, kind, found, start_time=started)
        if error:
            span.set_status(SdkStatus(SdkStatusCode.ERROR, error))
        span.end(ended)
    request = encode_spans(kept.get_finished_spans())
    provider.shutdown()
    return request.resource_spans[0]


@pytest.mark.parametrize("reason", ["", "CANCELLED", "INTERNAL_ERROR"])
def test_the_sdk_makes_the_same_spans(reason):
    one_edge = edge(reason=reason, http_status=499 if reason else 200)
    tries = [attempt(1, reason="UPSTREAM_ERROR"), attempt(2, reason=reason)]
    one_call = call(reason=reason, message="Why." if reason else "", attempts=tries)
    expected = through_the_sdk(
        [
            (attributes.edge_name(one_edge), SpanKind.SERVER, one_edge.trace, one_edge.started_ns, one_edge.ended_ns,
             attributes.edge_fixed(one_edge) | attributes.edge_variable(one_edge), reason),
            (attributes.call_name(one_call), SpanKind.SERVER, one_call.trace, one_call.started_ns, one_call.ended_ns,
             attributes.call_fixed(one_call) | attributes.call_variable(one_call), one_call.message),
            *((attributes.attempt_name(one_call, each), SpanKind.CLIENT, each.trace, each.started_ns, each.ended_ns,
               attributes.attempt_fixed(one_call, each), each.reason) for each in tries),
        ]
    )  # fmt: skip
    encoder = SpanEncoder(RESOURCE)
    encoder.add_edge(one_edge)
    encoder.add_call(one_call)
    ours = ExportTraceServiceRequest.FromString(encoder.take()[0]).resource_spans[0]
    assert ours.resource == expected.resource
    for mine, theirs in zip(ours.scope_spans[0].spans, expected.scope_spans[0].spans, strict=True):
        theirs.ClearField("flags")  # whether the parent is remote, which nobody downstream of us needs
        mine.status.SetInParent()  # the SDK writes an empty status where we write none
        assert mine == theirs
