"""One streamed request is one tree of spans: the REST edge, the RPC behind it, the call to the provider."""

import asyncio
import json
import uuid

import grpc
import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from headgate.inference.v1.inference_pb2 import GenerateRequest, GenerationSpec, Message, Role
from headgate.inference.v1.inference_pb2_grpc import InferenceServiceStub
from headgate_credentials import generate
from headgate_testing.otlp import Collector
from headgate_testing.provider import ScriptedProvider
from headgate_testing.suite import AnySuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


def attributes(span: Span) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value") or ""
        value = getattr(pair.value, kind, None)
        found[pair.key] = [v.string_value for v in value.values] if kind == "array_value" else value  # type: ignore[union-attr]
    return found


async def spans_of(collector: Collector, trace_id: str, count: int) -> list[Span]:
    async with asyncio.timeout(20):
        while len(found := [s for s in collector.spans() if s.trace_id.hex() == trace_id]) < count:
            collector.arrived.clear()
            await collector.arrived.wait()
    return found


async def test_a_streamed_request_is_one_tree(
    suite: AnySuite, collector: Collector, provider: ScriptedProvider
) -> None:
    trace_id, caller = uuid.uuid4().hex, "00f067aa0ba902b7"
    headers = {"authorization": f"Bearer {suite.key}", "traceparent": f"00-{trace_id}-{caller}-01"}
    body = {"model": "claude-3", "messages": [{"role": "user", "content": "A secret prompt"}], "stream": True}
    async with httpx2.AsyncClient() as http:
        reply = await http.post(f"{suite.url}/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200
    edge, rpc, attempt = sorted(await spans_of(collector, trace_id, 3), key=lambda s: s.start_time_unix_nano)

    assert edge.name == "POST /v1/chat/completions" and edge.kind == Span.SPAN_KIND_SERVER
    assert edge.parent_span_id.hex() == caller
    assert rpc.parent_span_id == edge.span_id and rpc.kind == Span.SPAN_KIND_SERVER
    assert attempt.parent_span_id == rpc.span_id and attempt.kind == Span.SPAN_KIND_CLIENT

    facts = attributes(edge)
    assert facts["http.route"] == "/v1/chat/completions" and facts["http.response.status_code"] == 200
    facts = attributes(rpc)
    assert (
        facts["rpc.method"] == "StreamGenerate"
        and facts["rpc.service"] == "headgate.inference.v1.InferenceService"
    )
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.request.model"] == "claude-3" and facts["gen_ai.response.model"] == "gpt-4"
    assert facts["gen_ai.usage.output_tokens"] == 5
    assert facts["gen_ai.response.finish_reasons"] == ["stop"]
    assert any("first" in name and isinstance(value, float) and value > 0 for name, value in facts.items())
    facts = attributes(attempt)
    assert facts["gen_ai.request.model"] == "gpt-4" and facts["http.response.status_code"] == 200

    sent = provider.requests[-1].headers["traceparent"]
    assert sent == f"00-{trace_id}-{attempt.span_id.hex()}-01"
    assert b"secret prompt" not in b"".join(r.SerializeToString() for r in collector.traces)


async def test_a_grpc_caller_continues_its_own_trace(suite: AnySuite, collector: Collector) -> None:
    trace_id, caller = uuid.uuid4().hex, "00f067aa0ba902b7"
    metadata = (("authorization", f"Bearer {suite.key}"), ("traceparent", f"00-{trace_id}-{caller}-01"))
    spec = GenerationSpec(model="gpt-4", messages=[Message(role=Role.ROLE_USER, text="Hello!")])
    async with grpc.aio.insecure_channel(suite.grpc) as channel:
        await InferenceServiceStub(channel).Generate(GenerateRequest(spec=spec), metadata=metadata)
    rpc, attempt = sorted(await spans_of(collector, trace_id, 2), key=lambda s: s.start_time_unix_nano)
    assert rpc.parent_span_id.hex() == caller and attempt.parent_span_id == rpc.span_id


async def test_a_failed_request_says_so_in_its_spans(suite: AnySuite, collector: Collector) -> None:
    trace_id = uuid.uuid4().hex
    headers = {"authorization": f"Bearer {suite.key}", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}
    async with httpx2.AsyncClient() as http:
        assert (
            await http.post(f"{suite.url}/v1/chat/completions", json=body, headers=headers)
        ).status_code == 404
    edge, rpc = sorted(await spans_of(collector, trace_id, 2), key=lambda s: s.start_time_unix_nano)
    assert attributes(rpc)["error.type"] == "MODEL_NOT_FOUND"
    assert attributes(edge)["http.response.status_code"] == 404


async def test_asking_auth_who_calls_is_part_of_the_trace(suite: AnySuite, collector: Collector) -> None:
    stranger = generate().text.reveal()
    trace_id, caller = uuid.uuid4().hex, "00f067aa0ba902b7"
    metadata = (("authorization", f"Bearer {stranger}"), ("traceparent", f"00-{trace_id}-{caller}-01"))
    async with grpc.aio.insecure_channel(suite.grpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await InferenceServiceStub(channel).Generate(GenerateRequest(), metadata=metadata)
    rpc, asked = sorted(await spans_of(collector, trace_id, 2), key=lambda s: s.start_time_unix_nano)
    assert attributes(rpc)["rpc.method"] == "Generate" and rpc.parent_span_id.hex() == caller
    assert attributes(asked)["rpc.method"] == "Authenticate" and asked.parent_span_id == rpc.span_id


async def test_one_log_line_a_request_and_one_an_attempt(suite: AnySuite) -> None:
    request_id = uuid.uuid4().hex
    headers = {"authorization": f"Bearer {suite.key}", "x-request-id": request_id}
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "A secret prompt"}]}
    async with httpx2.AsyncClient() as http:
        reply = await http.post(f"{suite.url}/v1/chat/completions", json=body, headers=headers)
    assert reply.headers["x-request-id"] == request_id

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in suite.logs().splitlines() if request_id in line]

    async with asyncio.timeout(20):
        while len(lines()) < 2:
            await asyncio.sleep(0.02)  # the recorder writes every 50 ms
    request, attempt = sorted(lines(), key=lambda line: "attempt" in line)
    assert request["call_id"] == attempt["call_id"] == reply.headers["x-call-id"]
    assert request["status"] == 200 and request["account"] and request["model"] == "gpt-4"
    assert (request["method"], request["path"]) == ("POST", "/v1/chat/completions")
    assert attempt["provider"] == "scripted"
    log = suite.logs()
    assert "secret prompt" not in log and suite.key not in log


async def test_token_and_cost_counters_are_exposed(suite: AnySuite) -> None:
    async with httpx2.AsyncClient() as http, asyncio.timeout(20):
        while "headgate_tokens_total" not in (
            text := (await http.get(f"{suite.ops_of('inference')[0]}/metrics")).text
        ):
            await asyncio.sleep(0.05)
    assert 'model="gpt-4"' in text and "headgate_cost" in text
