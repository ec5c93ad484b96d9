"""The official OpenAI SDK with nothing changed but base URL and key."""

import json
from typing import Any

import openai as sdk
import pytest
from openai import AsyncOpenAI

from headgate_testing.provider import Script, ScriptedProvider, error
from headgate_testing.suite import AnySuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELLO: Any = [{"role": "user", "content": "Hello!"}]
NOTE = "The ferry to the island leaves at seven in the morning. Tickets cost four crowns. Dogs travel free."
ABOUT_FERRY: Any = [
    {"role": "system", "content": NOTE},
    {"role": "user", "content": "When does the ferry leave?"},
]


async def test_local_chat_whole_and_streamed_give_the_same_text(openai: AsyncOpenAI) -> None:
    whole = await openai.chat.completions.create(model="local-extractive", messages=ABOUT_FERRY)
    assert "seven in the morning" in (whole.choices[0].message.content or "")
    assert (
        whole.usage is not None
        and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    )
    pieces, usage = [], None
    stream: Any = await openai.chat.completions.create(
        model="local-extractive",
        messages=ABOUT_FERRY,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        pieces += [choice.delta.content or "" for choice in chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert usage is not None and usage.completion_tokens == whole.usage.completion_tokens


async def test_local_embeddings_are_equal_as_float_and_base64(openai: AsyncOpenAI) -> None:
    texts = ["A short text.", "Ein kurzer Text."]
    as_base64 = await openai.embeddings.create(model="local-minilm", input=texts)  # the SDK asks for base64
    as_floats = await openai.embeddings.create(model="local-minilm", input=texts, encoding_format="float")
    assert [len(item.embedding) for item in as_floats.data] == [384, 384]
    for left, right in zip(as_base64.data, as_floats.data, strict=True):
        assert left.embedding == pytest.approx(right.embedding, abs=1e-7)
    assert as_floats.usage.total_tokens == as_floats.usage.prompt_tokens > 0


async def test_models_are_listed_and_found(openai: AsyncOpenAI) -> None:
    ids = {model.id async for model in await openai.models.list()}
    assert {"local-extractive", "local-minilm", "gpt-4", "claude-3"} <= ids
    assert (await openai.models.retrieve("gpt-4")).object == "model"


async def test_everything_a_request_holds_reaches_the_provider(
    openai: AsyncOpenAI, provider: ScriptedProvider
) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather of a place",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
            "strict": True,
        },
    }
    sent: dict[str, Any] = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look: ü"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"place": "Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
        "temperature": 0.7,
        "top_p": 0.9,
        "n": 2,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 2,
        "max_completion_tokens": 50,
        "tools": [tool],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}},
        },
        "user": "someone",
        "reasoning_effort": "low",
    }
    provider.next(Script(echo=True))
    unknown = {"a_field_of_tomorrow": {"deep": [1, 2.5, None, "x"]}}
    await openai.chat.completions.create(model="gpt-4", extra_body=unknown, **sent)
    got = provider.requests[-1].json
    assert got == {"model": "gpt-4", **sent, **unknown}


async def test_everything_a_reply_holds_comes_back(openai: AsyncOpenAI, provider: ScriptedProvider) -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"place": "Oslo"}'},
    }
    extras: dict[str, Any] = {
        "reply_fields": {"system_fingerprint": "fp_1", "service_tier": "default"},
        "message_fields": {"refusal": None, "reasoning_content": "thinking"},
    }
    provider.next(Script(tool_calls=[call], finish_reason="tool_calls", **extras))
    whole = await openai.chat.completions.create(model="gpt-4", messages=HELLO)
    choice: Any = whole.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert choice.message.tool_calls is not None
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"place": "Oslo"}
    assert whole.system_fingerprint == "fp_1"
    assert choice.message.model_extra == {"reasoning_content": "thinking"}


async def test_tools_arrive_in_pieces_when_streamed(openai: AsyncOpenAI, provider: ScriptedProvider) -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"place": "Oslo"}'},
    }
    provider.next(Script(tool_calls=[call], finish_reason="tool_calls"))
    arguments, finish = "", None
    stream: Any = await openai.chat.completions.create(model="gpt-4", messages=HELLO, stream=True)
    async for chunk in stream:
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for piece in choice.delta.tool_calls or []:
                arguments += piece.function.arguments or ""
    assert json.loads(arguments) == {"place": "Oslo"} and finish == "tool_calls"


async def test_several_choices_with_logprobs(openai: AsyncOpenAI, provider: ScriptedProvider) -> None:
    provider.next(Script(tokens=["Yes", "."]))
    reply = await openai.chat.completions.create(model="gpt-4", messages=HELLO, n=3, logprobs=True)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    logprobs = reply.choices[2].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert [entry.token for entry in logprobs.content] == ["Yes", "."]


async def test_a_reply_goes_by_the_name_that_was_asked_for(
    openai: AsyncOpenAI, provider: ScriptedProvider
) -> None:
    raw = await openai.chat.completions.with_raw_response.create(model="claude-3", messages=HELLO)
    assert raw.parse().model == "claude-3"
    assert raw.headers["x-model-id"] == "gpt-4" and raw.headers["x-model-provider"] == "scripted"
    assert provider.requests[-1].model == "gpt-4"


async def test_every_reply_carries_its_ids_and_limits(openai: AsyncOpenAI) -> None:
    raw = await openai.chat.completions.with_raw_response.create(model="gpt-4", messages=HELLO)
    headers = raw.headers
    assert headers["x-request-id"].startswith("req_")
    assert {
        "x-call-id",
        "x-api-version",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    } <= set(headers)
    assert headers["x-ratelimit-limit"] == "2147483647"


async def test_a_bad_key_is_an_authentication_error(suite: AnySuite) -> None:
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key="sk-hg-nonsense", max_retries=0) as client:
        with pytest.raises(sdk.AuthenticationError) as refused:
            await client.chat.completions.create(model="gpt-4", messages=HELLO)
    assert refused.value.code == "invalid_api_key"
    assert "x-ratelimit-limit" in refused.value.response.headers


async def new_key(suite: AnySuite, **body: object) -> str:
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key=suite.key, max_retries=0) as client:
        made: Any = await client.post("/keys", body={"name": "test", **body}, cast_to=object)
        return str(made["key"])


async def test_a_missing_scope_is_a_permission_error(suite: AnySuite) -> None:
    key = await new_key(suite, scopes=["models:read"], plan_policy="enterprise")
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key=key, max_retries=0) as client:
        with pytest.raises(sdk.PermissionDeniedError) as refused:
            await client.chat.completions.create(model="gpt-4", messages=HELLO)
    assert refused.value.code == "insufficient_permissions"


async def test_an_unknown_model_is_not_found(openai: AsyncOpenAI) -> None:
    with pytest.raises(sdk.NotFoundError) as refused:
        await openai.chat.completions.create(model="gpt-5", messages=HELLO)
    assert refused.value.code == "model_not_found" and refused.value.param == "model"


async def test_a_spent_limit_is_a_rate_limit_error_that_says_when(suite: AnySuite) -> None:
    key = await new_key(suite, scopes=["inference"], plan_policy="tiny")
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key=key, max_retries=0) as client:
        for left in (2, 1, 0):
            raw = await client.chat.completions.with_raw_response.create(model="gpt-4", messages=HELLO)
            assert raw.headers["x-ratelimit-remaining"] == str(left)
            assert raw.headers["x-ratelimit-limit"] == "3"
        with pytest.raises(sdk.RateLimitError) as refused:
            await client.chat.completions.create(model="gpt-4", messages=HELLO)
    headers = refused.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-retry-after"] == headers["retry-after"]
    assert headers["x-ratelimit-scope"] == "requests"
    body: Any = refused.value.body
    assert body["retry_after"] == int(headers["retry-after"])


async def test_a_request_over_the_whole_token_limit_says_so(suite: AnySuite) -> None:
    key = await new_key(suite, scopes=["inference"], plan_policy="few-tokens")
    async with AsyncOpenAI(base_url=f"{suite.url}/v1", api_key=key, max_retries=0) as client:
        with pytest.raises(sdk.RateLimitError) as refused:
            await client.chat.completions.create(model="gpt-4", messages=HELLO, max_tokens=5000)
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "1000" in refused.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": HELLO, "temperature": 3}, "temperature"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ({"messages": "hello"}, "messages"),
    ],
)
async def test_a_bad_value_is_a_bad_request_that_names_the_field(
    openai: AsyncOpenAI, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(sdk.BadRequestError) as refused:
        await openai.chat.completions.create(model="gpt-4", **body)
    assert refused.value.param == param
    assert refused.value.code == "invalid_request"


async def test_what_a_local_model_cannot_do_is_refused_by_name(openai: AsyncOpenAI) -> None:
    with pytest.raises(sdk.BadRequestError) as refused:
        await openai.chat.completions.create(model="local-extractive", messages=ABOUT_FERRY, n=2)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "n")


async def test_a_provider_fault_is_a_server_error_without_its_words(
    openai: AsyncOpenAI, provider: ScriptedProvider
) -> None:
    provider.on("broken", error(500, "the key sk-provider-secret is wrong on host db7"))
    with pytest.raises(sdk.InternalServerError) as fault:
        await openai.chat.completions.create(model="broken", messages=HELLO)
    assert fault.value.status_code == 502
    assert "sk-provider-secret" not in fault.value.response.text and "db7" not in fault.value.response.text


async def test_a_dead_provider_is_passed_over_for_its_fallback(openai: AsyncOpenAI) -> None:
    raw = await openai.chat.completions.with_raw_response.create(model="dead", messages=HELLO)
    assert raw.parse().model == "dead" and raw.headers["x-model-id"] == "gpt-4"
