"""A generation from request to settle: whole and streamed, over a provider that behaves and one that does not.
Always exactly one settle, and received ≤ billed ≤ emitted."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from headgate.inference.v1 import inference_pb2 as pb
from headgate.metering.v1 import metering_pb2 as metering
from headgate.registry.v1 import registry_pb2 as registry
from headgate_inference import app as inference
from headgate_inference.settings import InferenceSettings
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.data_plane import DataPlane, chat
from headgate_testing.provider import Script, ScriptedProvider, error

CONFIG = "providers: [{name: one, type: openai, base_url: 'http://127.0.0.1:1/v1', api_key: sk-canary}]"
TIMEOUTS = {"connect_ms": 1000, "first_token_ms": 60, "idle_ms": 60, "total_ms": 60_000}
SOON = 5.0


@asynccontextmanager
async def served(folder: Path, provider: ScriptedProvider, **timeouts: int) -> AsyncIterator[DataPlane]:
    """Inference with the models `m` (one deployment) and `pair` (two at two providers)."""
    plane = DataPlane(folder, CONFIG)
    limits = registry.Timeouts(**{**TIMEOUTS, **timeouts})
    plane.provider("one", provider.base_url, timeouts=limits)
    plane.provider("two", provider.base_url, timeouts=limits)
    plane.model("m", "one")
    plane.model("pair", "one", "two")
    plane.model("e", "one", type=registry.MODEL_TYPE_EMBEDDING, dimensions=4)
    plane.alias("other", "m")
    app = inference.build(
        InferenceSettings(),
        registry=plane.registry,
        routing=plane.routing,
        admission=plane.rig.admission,
        journal=plane.journal,
        config_file=plane.config_file,
        clock=plane.clock,
    )
    await plane.serve(app.servicer)
    await app.start()
    await app.arrived()
    try:
        yield plane
    finally:
        await app.stop()
        await plane.close()


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


@pytest.fixture
async def plane(tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[DataPlane]:
    async with served(tmp_path, provider) as running:
        yield running


async def whole(plane: DataPlane, spec: pb.GenerationSpec) -> pb.GenerateResponse:
    return (await plane.client.generate(pb.GenerateRequest(spec=spec), plane.options())).message


async def refused(plane: DataPlane, spec: pb.GenerationSpec) -> HeadgateError:
    with pytest.raises(HeadgateError) as caught:
        await whole(plane, spec)
    return caught.value


@dataclass
class Received:
    """What a caller got of a stream."""

    messages: list[pb.StreamGenerateResponse] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    error: HeadgateError | None = None

    @property
    def events(self) -> list[pb.StreamEvent]:
        return [event for message in self.messages for event in message.events]

    @property
    def text(self) -> str:
        return "".join(choice.text for event in self.events for choice in event.choices)

    @property
    def tokens(self) -> int:
        """Pieces of content, counted as a caller would."""
        return sum(bool(choice.text or choice.tool_calls) for e in self.events for choice in e.choices)


async def streamed(plane: DataPlane, spec: pb.GenerationSpec, stop_after: int | None = None) -> Received:
    """Read a stream to its end, or close it after so many tokens."""
    got = Received()
    try:
        async with asyncio.timeout(SOON):
            reply = await plane.client.stream_generate(pb.StreamGenerateRequest(spec=spec), plane.options())
            got.metadata = dict(reply.metadata)
            async for message in reply:
                got.messages.append(message)
                if stop_after is not None and got.tokens >= stop_after:
                    break
            await reply.aclose()
    except HeadgateError as fault:
        got.error = fault
    return got


async def test_a_whole_reply_comes_back_metered_under_the_callers_name(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    request = pb.GenerateRequest(spec=chat("other"))
    reply = await plane.client.generate(request, plane.options())
    message = reply.message
    assert message.choices[0].message.text == "Hello from the provider."
    assert (message.id, message.model, message.choices[0].finish_reason) == (
        "chatcmpl-scripted",
        "other",
        "stop",
    )
    assert (message.usage.input_tokens, message.usage.output_tokens, message.usage.estimated) == (3, 5, False)
    assert reply.metadata["x-model-provider"] == "one"
    assert (reply.metadata["x-model-id"], reply.metadata["x-cache"]) == ("m", "BYPASS")

    settle = plane.only_settle()
    assert settle.outcome == metering.OUTCOME_COMPLETED
    assert (settle.requested_model, settle.model, settle.provider) == ("other", "m", "one")
    assert settle.cost_nano_usd == (3 * 1_000_000 + 5 * 2_000_000) // 1000
    assert (settle.attempts, settle.estimated, settle.call.account_id) == (1, False, "acct_a")
    assert reply.metadata["x-call-id"] == settle.call.call_id

    (record,) = plane.observer.records
    assert (record.operation, record.requested_model, record.model, record.provider) == (
        "chat",
        "other",
        "m",
        "one",
    )
    assert (record.outcome, record.finish_reasons, record.output_tokens) == ("COMPLETED", ("stop",), 5)
    (attempt,) = record.attempts
    assert (attempt.http_status, attempt.outcome, attempt.server_address) == (200, "COMPLETED", "127.0.0.1")
    sent = provider.requests[0].headers
    assert sent["traceparent"] == f"00-{record.trace.trace_id}-{attempt.trace.span_id}-01"
    assert attempt.trace.parent_span_id == record.trace.span_id
    assert (sent["x-request-id"], sent["authorization"]) == ("r-1", "Bearer sk-canary")


async def test_a_stream_says_what_a_whole_reply_says(plane: DataPlane) -> None:
    got = await streamed(plane, chat("m"))
    assert got.error is None
    assert got.text == (await whole(plane, chat("m"))).choices[0].message.text
    first = got.messages[0]
    assert (first.start.id, first.start.model, first.start.created) == (
        "chatcmpl-scripted",
        "m",
        1_700_000_000,
    )
    assert not any(message.HasField("start") for message in got.messages[1:])
    assert [event.HasField("usage") for event in got.events] == [False] * (len(got.events) - 1) + [True]
    assert (got.events[-1].usage.input_tokens, got.events[-1].usage.output_tokens) == (3, 5)
    assert got.metadata["x-model-id"] == "m"
    record = plane.observer.records[0]
    assert record.streamed and record.first_token_ns and record.finish_reasons == ("stop",)


async def test_a_stream_survives_being_split_at_every_byte(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    provider.next(Script(tokens=("naïve ", "café ", "日本", "\n\ndata: x", "😀"), split=1))
    got = await streamed(plane, chat("m"))
    assert got.text == "naïve café 日本\n\ndata: x😀"
    assert plane.only_settle().quantities.output_tokens == 5


async def test_unknown_fields_go_both_ways_unchanged(plane: DataPlane, provider: ScriptedProvider) -> None:
    scripted = Script(
        reply_fields={"system_fingerprint": "fp", "x_big": 12345678901234567890},
        choice_fields={"x_choice": [1, 2.5]},
        message_fields={"reasoning_content": "hm", "refusal": None},
    )
    provider.next(scripted, scripted)
    spec = chat("m", extra_json=b'{"top_k":40,"x_num":1.50,"x_deep":{"a":[null,1e2]}}')
    spec.messages[0].extra_json = b'{"x_message":true}'
    reply = await whole(plane, spec)
    assert b'"top_k":40' in provider.requests[0].body
    assert b'"x_num":1.50,"x_deep":{"a":[null,1e2]}' in provider.requests[0].body
    assert b'"x_message":true' in provider.requests[0].body
    assert reply.extra_json == b'{"system_fingerprint":"fp","x_big":12345678901234567890}'
    assert reply.choices[0].extra_json == b'{"x_choice":[1,2.5]}'
    assert reply.choices[0].message.extra_json == b'{"reasoning_content":"hm","refusal":null}'

    got = await streamed(plane, spec)
    content = [event for event in got.events if event.choices and event.choices[0].text]
    assert {event.extra_json for event in content} == {reply.extra_json}
    assert {event.choices[0].extra_json for event in content} == {reply.choices[0].extra_json}
    assert {event.choices[0].delta_extra_json for event in content} == {reply.choices[0].message.extra_json}


async def test_tools_logprobs_and_n_pass(plane: DataPlane, provider: ScriptedProvider) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city":"Bern"}'}}
    provider.next(Script(tool_calls=[call], finish_reason="tool_calls"))
    got = await streamed(plane, chat("m", tools=[pb.Tool(name="f", parameters_json=b'{"type":"object"}')]))
    pieces = [piece for event in got.events for choice in event.choices for piece in choice.tool_calls]
    assert (pieces[0].id, pieces[0].name, "".join(p.arguments for p in pieces)) == (
        "c1",
        "f",
        '{"city":"Bern"}',
    )
    assert provider.requests[0].json["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    ]
    reply = await whole(plane, chat("m", n=3, sampling=pb.Sampling(logprobs=True, top_logprobs=2)))
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert b'"logprobs":{"content":' in reply.choices[2].extra_json
    assert reply.usage.output_tokens == 15


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (error(500), Reason.UPSTREAM_ERROR),
        (error(503), Reason.UPSTREAM_ERROR),
        (error(401, "bad key sk-canary"), Reason.PROVIDER_UNAVAILABLE),
        (error(403), Reason.PROVIDER_UNAVAILABLE),
        (error(404), Reason.UPSTREAM_ERROR),
        (error(429), Reason.PROVIDER_UNAVAILABLE),
        (error(302), Reason.UPSTREAM_ERROR),
        (error(400, "sk-canary", param="tools[0].x"), Reason.INVALID_REQUEST),
        (error(400, "sk-canary"), Reason.INVALID_REQUEST),
        (error(400, code="unsupported_parameter", param="seed"), Reason.UNSUPPORTED_PARAMETER),
        (error(400, code="context_length_exceeded"), Reason.CONTEXT_LENGTH_EXCEEDED),
        (error(400, "This model's maximum context length is 8 tokens"), Reason.CONTEXT_LENGTH_EXCEEDED),
        (error(400, code="content_filter"), Reason.CONTENT_FILTERED),
        (error(422), Reason.INVALID_REQUEST),
        (error(413), Reason.PAYLOAD_TOO_LARGE),
        (Script(status=400, body=b"\xff\x00"), Reason.INVALID_REQUEST),
        (Script(body=b"<html>fine</html>", content_type="text/html"), Reason.UPSTREAM_ERROR),
        (Script(body=b""), Reason.UPSTREAM_ERROR),
        (Script(body=b'{"choices":[]}'), Reason.UPSTREAM_ERROR),
        (Script(body=b'{"choices":[{"index":0}]}'), Reason.UPSTREAM_ERROR),
        (Script(body=b'{"error":{"message":"boom sk-canary"}}'), Reason.UPSTREAM_ERROR),
        (Script(body=b'{"choices":[{"message":{"content":"\xff"}}]}'), Reason.UPSTREAM_ERROR),
        (Script(body=b'{"a":' + b"[" * 100_000), Reason.UPSTREAM_ERROR),
        (Script(body=b"\x1f\x8bnot gzip", headers={"content-encoding": "gzip"}), Reason.UPSTREAM_ERROR),
        (Script(cut_after=10), Reason.UPSTREAM_ERROR),
        (Script(cut_after=10, cut="reset"), Reason.UPSTREAM_ERROR),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_call_has_the_right_reason_and_costs_nothing(
    plane: DataPlane, provider: ScriptedProvider, script: Script, reason: Reason, stream: bool
) -> None:
    if stream and script.cut_after is not None:
        script = Script(cut_after=0, cut=script.cut)
    provider.default = script
    fault = (await streamed(plane, chat("m"))).error if stream else await refused(plane, chat("m"))
    assert fault is not None
    assert fault.reason is reason
    assert "canary" not in fault.message
    settle = plane.only_settle()
    assert (settle.outcome, settle.cost_nano_usd) == (metering.OUTCOME_FAILED, 0)
    assert settle.error_reason == reason
    assert plane.observer.records[0].outcome == "FAILED"


async def test_the_wait_a_provider_asks_for_reaches_the_caller(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    provider.default = Script(status=429, body=b"{}", headers={"retry-after": "7"})
    assert (await refused(plane, chat("m"))).retry_after_ms == 7000


async def test_a_provider_that_is_not_there_is_unavailable(plane: DataPlane) -> None:
    plane.provider("one", "http://127.0.0.1:9/v1")
    await plane.client.check_caller(pb.CheckCallerRequest(), plane.options())
    while (fault := (await streamed(plane, chat("m"))).error) is None:
        pass  # until the watch has brought the new address
    assert fault.reason is Reason.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize("cut", ["fin", "reset"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_cut_stream_is_told_and_billed_by_what_came(
    plane: DataPlane, provider: ScriptedProvider, cut: str, seed: int
) -> None:
    k = Random(seed).randint(1, 30)
    print(f"seed {seed}: cut after {k}")
    provider.next(Script(tokens=["t "] * 40, cut_after=k, cut=cut))  # type: ignore[arg-type]
    got = await streamed(plane, chat("m"))
    assert got.error is not None
    assert got.error.reason is Reason.UPSTREAM_ERROR
    assert not any(event.HasField("usage") for event in got.events)
    settle = plane.only_settle()
    if got.tokens:  # a reset may overtake everything that was sent
        assert got.error.message == "The provider ended the stream early."
        assert settle.outcome == metering.OUTCOME_UPSTREAM_CUT
        assert len(provider.requests) == 1
    assert settle.estimated is bool(got.tokens)
    assert got.tokens <= settle.quantities.output_tokens <= sum(each.emitted for each in provider.requests)
    if cut == "fin":
        assert got.tokens == settle.quantities.output_tokens == k


@pytest.mark.parametrize(
    "tail",
    [
        b'data: {"choices":[{"index":0,"delta":{"cont\n\n',
        b'data: {"error":{"message":"overloaded sk-canary"}}\n\n',
        b"data: <html>\n\n",
        b"data: " + b"x" * 5_000_000,
        b'data: {"choices":[{"index":0,"delta":{"content":"\xf0\x9f"}}]}\n\n',
    ],
)
async def test_garbage_after_content_ends_the_stream_with_an_error(
    plane: DataPlane, provider: ScriptedProvider, tail: bytes
) -> None:
    provider.next(Script(body=b'data: {"choices":[{"index":0,"delta":{"content":"good"}}]}\n\n' + tail))
    got = await streamed(plane, chat("m"))
    assert got.error is not None
    assert (got.text, got.error.reason) == ("good", Reason.UPSTREAM_ERROR)
    assert "canary" not in got.error.message
    settle = plane.only_settle()
    assert (settle.outcome, settle.quantities.output_tokens) == (metering.OUTCOME_UPSTREAM_CUT, 1)
    assert len(provider.requests) == 1


async def test_a_provider_that_never_answers_is_given_up(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    provider.default = Script(hang=True)
    got = await streamed(plane, chat("m"))
    assert got.error is not None
    assert got.error.reason is Reason.UPSTREAM_TIMEOUT
    await asyncio.wait_for(provider.requests[0].gone.wait(), SOON)
    settle = plane.only_settle()
    assert (settle.outcome, settle.cost_nano_usd) == (metering.OUTCOME_TIMED_OUT, 0)


async def test_a_whole_reply_has_the_total_time(tmp_path: Path, provider: ScriptedProvider) -> None:
    provider.default = Script(hang=True)
    async with served(tmp_path, provider, total_ms=60) as plane:
        assert (await refused(plane, chat("m"))).reason is Reason.UPSTREAM_TIMEOUT
        await asyncio.wait_for(provider.requests[0].gone.wait(), SOON)
        assert plane.only_settle().outcome == metering.OUTCOME_TIMED_OUT


@pytest.mark.parametrize(("tokens", "billed"), [(0, 0), (3, 3)])
async def test_a_stalled_stream_is_cut_by_the_timers(
    plane: DataPlane, provider: ScriptedProvider, tokens: int, billed: int
) -> None:
    provider.default = Script(hang_after=tokens)
    got = await streamed(plane, chat("m"))
    assert got.error is not None
    assert (got.error.reason, got.tokens) == (Reason.UPSTREAM_TIMEOUT, tokens)
    await asyncio.wait_for(provider.requests[0].gone.wait(), SOON)
    settle = plane.only_settle()
    assert settle.outcome == metering.OUTCOME_TIMED_OUT
    assert settle.quantities.output_tokens == billed


async def test_comments_do_not_keep_a_stalled_stream_alive(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    body = b": ping\n\n" * 100_000
    provider.default = Script(body=body, content_type="text/event-stream", split=8)
    async with served(tmp_path, provider, total_ms=150, first_token_ms=50) as plane:
        got = await streamed(plane, chat("m"))
        assert got.error is not None
        assert got.error.reason is Reason.UPSTREAM_TIMEOUT


@pytest.mark.parametrize("tokens", [1, 2, 7])
async def test_a_caller_that_leaves_stops_the_provider_at_once(
    plane: DataPlane, provider: ScriptedProvider, tokens: int
) -> None:
    provider.next(Script(tokens=["t "] * 1000, pause=0.001))
    got = await streamed(plane, chat("m"), stop_after=tokens)
    request = provider.requests[0]
    await asyncio.wait_for(request.gone.wait(), SOON)
    settle = plane.only_settle()
    assert (settle.outcome, settle.error_reason) == (metering.OUTCOME_CANCELLED, "CANCELLED")
    assert tokens <= got.tokens <= settle.quantities.output_tokens <= request.emitted < 1000
    assert settle.estimated


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_that_leaves_while_nothing_came_pays_nothing(
    plane: DataPlane, provider: ScriptedProvider, stream: bool
) -> None:
    provider.next(Script(hang=True))
    running = asyncio.ensure_future(streamed(plane, chat("m")) if stream else whole(plane, chat("m")))
    request = await asyncio.wait_for(provider.request(0), SOON)
    running.cancel()
    await asyncio.wait([running])
    await asyncio.wait_for(request.gone.wait(), SOON)
    settle = plane.only_settle()
    assert (settle.outcome, settle.cost_nano_usd) == (metering.OUTCOME_CANCELLED, 0)


async def test_the_callers_deadline_ends_the_call(plane: DataPlane, provider: ScriptedProvider) -> None:
    provider.next(Script(hang=True))
    with pytest.raises(HeadgateError) as caught:
        await plane.client.generate(pb.GenerateRequest(spec=chat("m")), plane.options(timeout=0.05))
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    await asyncio.wait_for(provider.requests[0].gone.wait(), SOON)
    settle = plane.only_settle()
    assert (settle.outcome, settle.error_reason) == (metering.OUTCOME_TIMED_OUT, "DEADLINE_EXCEEDED")


async def test_a_revoked_key_cuts_its_running_streams(tmp_path: Path, provider: ScriptedProvider) -> None:
    provider.next(Script(hang_after=2))
    async with served(tmp_path, provider, idle_ms=60_000) as plane:
        request = pb.StreamGenerateRequest(spec=chat("m"))
        messages = aiter(await plane.client.stream_generate(request, plane.options()))
        await anext(messages)
        plane.rig.auth.revoke(plane.key)
        with pytest.raises(HeadgateError) as caught:
            async with asyncio.timeout(SOON):
                while True:
                    await anext(messages)
        assert caught.value.reason is Reason.INVALID_CREDENTIALS
        await asyncio.wait_for(provider.requests[0].gone.wait(), SOON)
        settle = plane.only_settle()
        assert (settle.outcome, settle.error_reason) == (metering.OUTCOME_CANCELLED, "INVALID_CREDENTIALS")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "bad", [error(500), error(429), error(401), Script(cut_after=0), Script(body=b"<html>")]
)
async def test_another_deployment_saves_a_call_before_its_first_content(
    plane: DataPlane, provider: ScriptedProvider, bad: Script, stream: bool
) -> None:
    provider.next(bad)
    if stream:
        got = await streamed(plane, chat("pair"))
        assert (got.error, got.text) == (None, "Hello from the provider.")
    else:
        assert (await whole(plane, chat("pair"))).choices[0].message.text == "Hello from the provider."
    settle = plane.only_settle()
    assert (settle.outcome, settle.attempts, settle.quantities.output_tokens) == (
        metering.OUTCOME_COMPLETED,
        2,
        5,
    )
    first, second = plane.observer.records[0].attempts
    assert {first.provider, second.provider} == {"one", "two"}
    assert (first.outcome, second.outcome, settle.provider) == ("FAILED", "COMPLETED", second.provider)


async def test_a_role_alone_does_not_prevent_a_second_attempt(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    role = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    provider.next(Script(body=role, content_type="text/event-stream"))
    got = await streamed(plane, chat("pair"))
    assert (got.error, got.text) == (None, "Hello from the provider.")
    assert sum(choice.role != 0 for event in got.events for choice in event.choices) == 1


async def test_nothing_is_retried_after_the_first_content(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    provider.next(Script(cut_after=1))
    got = await streamed(plane, chat("pair"))
    assert got.error is not None
    assert (len(provider.requests), got.tokens) == (1, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_went_stale_is_made_anew(
    plane: DataPlane, provider: ScriptedProvider, stream: bool
) -> None:
    provider.next(Script(drop=True))
    if stream:
        assert (await streamed(plane, chat("m"))).text == "Hello from the provider."
    else:
        assert (await whole(plane, chat("m"))).choices[0].message.text == "Hello from the provider."
    assert plane.only_settle().attempts == 2


async def test_a_hundred_hangs_leave_nothing_behind(plane: DataPlane, provider: ScriptedProvider) -> None:
    provider.default = Script(hang_after=1)
    before = asyncio.all_tasks()
    results = await asyncio.gather(*(streamed(plane, chat("m")) for _ in range(60)))
    assert {got.error.reason for got in results if got.error} == {Reason.UPSTREAM_TIMEOUT}
    provider.default = Script(hang=True)
    await asyncio.gather(*(streamed(plane, chat("m")) for _ in range(40)))
    await asyncio.sleep(0)  # the provider ends its side a turn of the loop after ours
    assert asyncio.all_tasks() - before == set()
    assert plane.journal.slots.in_use == plane.journal.open_calls == 0
    assert len(plane.events(metering.EVENT_KIND_SETTLE)) == 100
    await asyncio.wait_for(asyncio.gather(*(request.gone.wait() for request in provider.requests)), SOON)
    assert provider.open_connections == 0


async def test_connections_are_used_again(plane: DataPlane, provider: ScriptedProvider) -> None:
    for _ in range(5):
        await whole(plane, chat("m"))
        await streamed(plane, chat("m"))
        await asyncio.wait_for(provider.requests[-1].finished.wait(), SOON)
    assert provider.connections <= 3


async def test_a_refused_request_is_not_tried_elsewhere(plane: DataPlane, provider: ScriptedProvider) -> None:
    provider.default = error(400, param="temperature")
    fault = await refused(plane, chat("pair"))
    assert (fault.field, len(provider.requests)) == ("temperature", 1)
    assert plane.observer.records[0].attempts[0].reason == "INVALID_REQUEST"


async def test_a_fallback_is_booked_at_its_own_price(plane: DataPlane, provider: ScriptedProvider) -> None:
    dear = registry.Price(version="p2", input_pico_usd=7_000_000, output_pico_usd=9_000_000)
    plane.model("dear", "two", price=dear)
    plane.model("front", "one", fallbacks=["dear"])
    provider.on("front", error(500))
    while (await streamed(plane, chat("front"))).error:
        pass  # until the watch has brought the new routes
    settle = plane.events(metering.EVENT_KIND_SETTLE)[-1]
    assert (settle.requested_model, settle.model, settle.provider) == ("front", "dear", "two")
    assert settle.price.version == "p2"
    assert settle.cost_nano_usd == (3 * 7_000_000 + 5 * 9_000_000) // 1000


async def test_retries_stop_when_the_budget_is_used_up(plane: DataPlane, provider: ScriptedProvider) -> None:
    provider.default = error(500)
    for _ in range(40):
        await refused(plane, chat("pair"))
    assert len(provider.requests) == 40 + 10


@pytest.mark.parametrize(
    ("usage", "quantities", "estimated"),
    [
        (None, (3, 5), True),
        ({"prompt_tokens": -1, "completion_tokens": 5}, (3, 5), True),
        ({"prompt_tokens": 3, "completion_tokens": 10**12}, (3, 5), True),
        ({"prompt_tokens": "three"}, (3, 5), True),
        ({"prompt_tokens": 9, "completion_tokens": 1}, (9, 5), False),
        ({"prompt_tokens": 9, "completion_tokens": 500}, (9, 8), False),
    ],
)
async def test_usage_is_believed_within_bounds(
    plane: DataPlane,
    provider: ScriptedProvider,
    usage: dict[str, object] | None,
    quantities: tuple[int, int],
    estimated: bool,
) -> None:
    provider.next(Script(usage=usage))
    got = await streamed(plane, chat("m", "twelve bytes", max_tokens=8))
    assert got.error is None
    settle = plane.only_settle()
    assert (settle.quantities.input_tokens, settle.quantities.output_tokens) == quantities
    assert settle.estimated is estimated
    shown = got.events[-1].usage
    assert (shown.input_tokens, shown.output_tokens, shown.estimated) == (*quantities, estimated)


async def test_a_whole_reply_without_usage_is_estimated(plane: DataPlane, provider: ScriptedProvider) -> None:
    provider.next(Script(usage=None))
    reply = await whole(plane, chat("m", "twelve bytes"))
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.estimated) == (3, 6, True)
    assert plane.only_settle().estimated


async def test_a_stream_without_its_end_mark_is_complete_once_its_choices_are(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    provider.next(Script(done=False))
    got = await streamed(plane, chat("m"))
    assert (got.error, got.text) == (None, "Hello from the provider.")
    assert plane.only_settle().outcome == metering.OUTCOME_COMPLETED


async def test_tokens_reserved_are_corrected_by_what_was_used(plane: DataPlane) -> None:
    plane.key = plane.rig.add("inference", policy="free")
    await whole(plane, chat("m", "x" * 400, max_tokens=1000))
    (bucket,) = [name for name in plane.rig.leases.spent if name.startswith("tokens")]
    assert plane.rig.leases.spent[bucket] == 1 + 5
    assert plane.rig.leases.limits[bucket] == 10_000


async def test_a_call_that_does_not_fit_the_token_rate_is_refused_without_a_row(plane: DataPlane) -> None:
    plane.key = plane.rig.add("inference", policy="free")
    assert (await refused(plane, chat("m", max_tokens=20_000))).reason is Reason.RATE_LIMIT_EXCEEDED
    assert not plane.events(metering.EVENT_KIND_INTENT)


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(plane: DataPlane) -> None:
    fault = await refused(plane, chat("nope"))
    assert (fault.reason, fault.field) == (Reason.MODEL_NOT_FOUND, "model")
    assert fault.details["available_models"] == "e,m,other,pair"


async def test_an_embedding_model_does_not_chat(plane: DataPlane) -> None:
    fault = await refused(plane, chat("e"))
    assert (fault.reason, fault.field) == (Reason.INVALID_REQUEST, "model")


async def test_a_key_uses_only_the_models_it_was_given(plane: DataPlane) -> None:
    plane.rig.auth.principals[plane.key].models.append("other")
    assert (await whole(plane, chat("other"))).model == "other"
    assert (await refused(plane, chat("m"))).reason is Reason.FORBIDDEN
    assert (await refused(plane, chat("nope"))).details["available_models"] == "other"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (pb.GenerationSpec(), "model"),
        (pb.GenerationSpec(model="m"), "messages"),
        (pb.GenerationSpec(model="m", messages=[pb.Message(text="x")]), "messages[0].role"),
        (chat("m", sampling=pb.Sampling(temperature=2.1)), "temperature"),
        (chat("m", sampling=pb.Sampling(temperature=float("nan"))), "temperature"),
        (chat("m", sampling=pb.Sampling(top_p=-0.1)), "top_p"),
        (chat("m", max_tokens=0), "max_tokens"),
        (chat("m", n=129), "n"),
        (chat("m", tools=[pb.Tool()]), "tools[0].function.name"),
        (chat("m", extra_json=b"[1]"), "extra_json"),
        (chat("m", extra_json=b'{"model":"dearer"}'), "extra_json"),
        (chat("m", extra_json=b'{"x":"\xff"}'), "extra_json"),
        (chat("m", tool_choice_json=b"{"), "tool_choice"),
    ],
)
async def test_a_bad_request_names_its_field_and_reaches_nobody(
    plane: DataPlane, provider: ScriptedProvider, spec: pb.GenerationSpec, field: str
) -> None:
    fault = await refused(plane, spec)
    assert (fault.reason, fault.field) == (Reason.INVALID_REQUEST, field)
    assert not provider.requests
    assert all(event.cost_nano_usd == 0 for event in plane.events(metering.EVENT_KIND_SETTLE))


async def test_embeddings_come_in_input_order_and_are_metered(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    request = pb.EmbedRequest(model="e", texts=["a", "b", "c"])
    reply = await plane.client.embed(request, plane.options())
    assert [each.values[0] for each in reply.message.embeddings] == [0, 1, 2]
    assert (reply.message.model, reply.message.usage.input_tokens) == ("e", 9)
    assert provider.requests[0].json["encoding_format"] == "float"
    settle = plane.only_settle()
    assert (settle.quantities.input_tokens, settle.quantities.output_tokens) == (9, 0)
    assert settle.cost_nano_usd == 9_000
    assert plane.observer.records[0].operation == "embeddings"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.EmbedRequest(model="e"), "input"),
        (pb.EmbedRequest(model="e", texts=["a", ""]), "input"),
        (pb.EmbedRequest(model="e", texts=["a"] * 2049), "input"),
        (pb.EmbedRequest(model="m", texts=["a"]), "model"),
        (pb.EmbedRequest(model="e", texts=["a"], dimensions=5), "dimensions"),
    ],
)
async def test_a_bad_embeddings_request_names_its_field(
    plane: DataPlane, request_: pb.EmbedRequest, field: str
) -> None:
    with pytest.raises(HeadgateError) as caught:
        await plane.client.embed(request_, plane.options())
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_REQUEST, field)


async def test_a_missing_vector_is_the_providers_fault(plane: DataPlane, provider: ScriptedProvider) -> None:
    provider.default = Script(body=b'{"data":[{"index":0,"embedding":[1]}]}')
    with pytest.raises(HeadgateError) as caught:
        await plane.client.embed(pb.EmbedRequest(model="e", texts=["a", "b"]), plane.options())
    assert caught.value.reason is Reason.UPSTREAM_ERROR


async def test_progress_stands_in_the_slot_before_the_caller_has_it(
    plane: DataPlane, provider: ScriptedProvider
) -> None:
    provider.next(Script(tokens=["t"] * 20, pause=0.001))
    request = pb.StreamGenerateRequest(spec=chat("m"))
    reply = await plane.client.stream_generate(request, plane.options())
    received = 0
    async for message in reply:
        received += sum(bool(choice.text) for event in message.events for choice in event.choices)
        if plane.journal.open_calls:
            data = (plane.journal.slots._map)[16:20]
            assert int.from_bytes(data, "little") >= received
    assert received == 20


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
@pytest.mark.parametrize("model", ["m", "nobody"])
async def test_a_failed_call_leaves_nothing_to_the_garbage_collector(
    plane: DataPlane, provider: ScriptedProvider, method: str, model: str
) -> None:
    provider.default = error(500)
    gc.collect()
    gc.disable()
    try:
        with suppress(HeadgateError):
            if method == "Generate":
                await whole(plane, chat(model))
            else:
                request = pb.StreamGenerateRequest(spec=chat(model))
                await plane.client.stream_generate(request, plane.options())
        await asyncio.sleep(0)
        left = [each for each in gc.get_objects() if isinstance(each, CallContext)]
    finally:
        gc.enable()
    assert method not in {call.method.name for call in left}
