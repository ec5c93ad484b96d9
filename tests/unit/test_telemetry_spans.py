"""The spans of a request are one tree with OpenTelemetry's names, equal to what the SDK would have made."""

import random

import pytest
from msgspec import structs
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, rpc_attributes, service_attributes
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)

from headgate_telemetry import genai
from headgate_telemetry.counters import CallCounters
from headgate_telemetry.metrics import Metrics
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext
from headgate_telemetry.recorder import Recorder, Tracing
from headgate_telemetry.resource import resource_attributes
from headgate_telemetry.spans import SpanEncoder
from headgate_testing.sdk_spans import sdk_spans

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
    return structs.replace(record, **fields)


def call(**fields):
    record = CallRecord(
        service="headgate.inference.v1.InferenceService", method="StreamGenerate", endpoint="POST /v1/chat/completions",
        request_id="req-1", trace=context(2, 1), started_ns=START + 1_000_000, ended_ns=START + 8_000_000,
        call_id="0199", account_id="acct", key_prefix="sk-hg-abc", operation="chat", requested_model="fast",
        model="gpt-4o-mini", provider="openai", streamed=True, input_tokens=12, output_tokens=3, cost_nano_usd=3600,
        outcome="COMPLETED", finish_reasons=("stop", "length"), first_token_ns=START + 3_500_000,
    )  # fmt: skip
    return structs.replace(record, **fields)


def attempt(number=1, **fields):
    record = AttemptRecord(
        number, "openai", "gpt-4o-mini", "gpt-4o-mini-2024", context(2 + number, 2), START + 2_000_000,
        START + 7_000_000, "api.example.com", 200, "COMPLETED",
    )  # fmt: skip
    return structs.replace(record, **fields)


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


class Sent:
    """An exporter that keeps what it is given."""

    def __init__(self):
        self.requests: list[ExportTraceServiceRequest] = []

    def offer(self, batch: bytes, spans: int) -> None:
        self.requests.append(ExportTraceServiceRequest.FromString(batch))
        assert (
            sum(len(of_scope.spans) for of_scope in self.requests[-1].resource_spans[0].scope_spans) == spans
        )


class Unused:
    """Log and lines that nobody reads here."""

    def write(self, lines: bytes, count: int) -> None: ...

    def exception(self, event: str, **fields: object) -> None:
        raise AssertionError(event)


def ours(records):
    """The spans of these records on their whole way through the recorder."""
    sent = Sent()
    tracing = Tracing(SpanEncoder(RESOURCE), sent)
    recorder = Recorder("headgate", Unused(), CallCounters(Metrics()), Unused(), tracing=tracing)
    for record in records:
        recorder.add(record)
    recorder.flush()
    first, *more = (of_resource for request in sent.requests for of_resource in request.resource_spans)
    for each in more:
        assert each.resource == first.resource
        first.scope_spans[0].spans.extend(each.scope_spans[0].spans)
    return first


def assert_equal(mine, theirs):
    assert mine.resource == theirs.resource
    assert mine.scope_spans[0].scope == theirs.scope_spans[0].scope
    for one, other in zip(mine.scope_spans[0].spans, theirs.scope_spans[0].spans, strict=True):
        other.ClearField("flags")  # whether the parent is remote, which nobody downstream of us needs
        one.status.SetInParent()  # the SDK writes an empty status where we write none
        for span in (one, other):
            span.attributes.sort(key=lambda pair: pair.key)
        assert one == other


KINDS = {
    "chat": lambda: [call(attempts=[attempt()])],
    "whole chat": lambda: [edge(), call(method="Generate", streamed=False, first_token_ns=0, attempts=[attempt()])],
    "stream": lambda: [edge(), call(streamed=True, attempts=[attempt()])],
    "second provider": lambda: [
        call(
            attempts=[
                attempt(1, reason="UPSTREAM_ERROR", http_status=503, outcome="FAILED"),
                attempt(2, provider="spare", server_address="", http_status=0, outcome="TIMED_OUT",
                        reason="UPSTREAM_TIMEOUT"),
                attempt(3, provider="third"),
            ]
        )
    ],
    "cut stream": lambda: [
        edge(reason="CANCELLED", http_status=499),
        call(reason="CANCELLED", outcome="CANCELLED", estimated=True, finish_reasons=(),
             attempts=[attempt(reason="CANCELLED", ended_ns=0)]),
    ],
    "embeddings": lambda: [
        edge(route="/v1/embeddings"),
        call(operation="embeddings", method="Embed", streamed=False, output_tokens=0, finish_reasons=(),
             first_token_ns=0, attempts=[attempt(model="text-embedding-ada-002")]),
    ],
    "stranger": lambda: [
        edge(reason="AUTHENTICATION_FAILED", http_status=401),
        call(reason="AUTHENTICATION_FAILED", message="No such key.", account_id="", key_prefix="", operation=""),
    ],
    "control plane": lambda: [
        call(service="headgate.auth.v1.AuthService", method="CreateKey", operation="", endpoint="POST /v1/keys")
    ],
    "internal that failed": lambda: [
        call(service="headgate.metering.v1.MeteringService", method="AcquireLeases", internal=True, operation="",
             account_id="", endpoint="/headgate.metering.v1.MeteringService/AcquireLeases",
             reason="SERVICE_UNAVAILABLE")
    ],
    "unknown reason": lambda: [edge(http_status=500), call(reason="NEVER_HEARD_OF", message="?")],
    "no route": lambda: [edge(method="HACK", route="", http_status=404, reason="NOT_FOUND")],
    "root and remote parent": lambda: [edge(trace=context(1)), edge(trace=context(7, 0xBEEF)), call(trace=context(8))],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_sdk_makes_the_same_spans(kind):
    assert_equal(ours(KINDS[kind]()), sdk_spans(KINDS[kind](), RESOURCE))


def test_the_sdk_makes_the_same_of_a_thousand_random_records():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    texts = ("", "a", "é😀", "x" * 63, "y" * 64, "z" * 65, "ü" * 64, "long " * 100, "\u2028\n\0")
    numbers = (0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**35, 2**63 - 1, -1, -(2**63))
    reasons = ("", "", "", "CANCELLED", "UPSTREAM_TIMEOUT", "RATE_LIMIT_EXCEEDED", "ODD")

    def one(number):
        trace = TraceContext(f"{draw.getrandbits(128) or 1:032x}", f"{number + 1:016x}",
                             draw.choice(("", f"{draw.getrandbits(64) or 1:016x}")))  # fmt: skip
        reason = draw.choice(reasons)
        common = {"trace": trace, "request_id": draw.choice(texts), "client_address": draw.choice(texts),
                  "reason": reason, "ended_ns": START + draw.choice(numbers[:9])}  # fmt: skip
        if draw.random() < 0.3:
            return edge(
                http_status=draw.choice((200, 404, 500, 503)), route=draw.choice(("", "/v1/models")), **common
            )
        tries = [attempt(n, reason=draw.choice(reasons), http_status=draw.choice((0, 200, 503)),
                         server_address=draw.choice(texts), ended_ns=draw.choice((0, START + 9)))
                 for n in range(1, draw.randrange(1, 5))]  # fmt: skip
        return call(
            operation=draw.choice(("", "chat", "embeddings")), call_id=draw.choice(texts),
            account_id=draw.choice(("", "acct")), key_prefix=draw.choice(texts), message=draw.choice(texts[:7]),
            requested_model=draw.choice(texts), model=draw.choice(texts[:4]), streamed=draw.random() < 0.5,
            estimated=draw.random() < 0.5, outcome=draw.choice(("", "COMPLETED")), attempts=tries,
            input_tokens=draw.choice(numbers), output_tokens=draw.choice(numbers),
            cost_nano_usd=draw.choice(numbers), finish_reasons=draw.choice(((), ("stop",), ("é", "length"))),
            first_token_ns=draw.choice((0, START + 5_000_000)), **common,
        )  # fmt: skip

    records = [one(number) for number in range(1000)]
    assert_equal(ours(records), sdk_spans(records, RESOURCE))


def test_what_is_not_sampled_or_nobodys_call_is_not_sent():
    unsampled = TraceContext(TRACE_ID, f"{9:016x}", sampled=False)
    sent = ours([edge(trace=unsampled), call(trace=unsampled), call(internal=True), edge()])
    assert [span.name for span in sent.scope_spans[0].spans] == ["POST /v1/chat/completions"]
