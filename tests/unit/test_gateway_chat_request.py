"""A chat body becomes the canonical request: nothing of it is lost, and what is wrong with it is named."""

import json

import pytest

from headgate.inference.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    ROLE_DEVELOPER,
    ROLE_FUNCTION,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    GenerationSpec,
)
from headgate_gateway.chat.request import ChatRequest
from headgate_gateway.strict_json import Malformed, parse

USER = {"role": "user", "content": "hi"}


def read(**fields: object) -> ChatRequest:
    body = {"model": "gpt-4", "messages": [USER], **fields}
    return ChatRequest(parse(json.dumps(body).encode()))


def spec(**fields: object) -> GenerationSpec:
    made = GenerationSpec()
    read(**fields).fill(made)
    return made


def test_sampling_fields_arrive_with_their_values_and_absent_ones_stay_absent() -> None:
    made = spec(
        temperature=0, top_p=1, presence_penalty=-2, frequency_penalty=2, seed=-1, top_logprobs=0, n=128
    )
    assert made.sampling.temperature == 0
    assert made.sampling.HasField("temperature")
    assert made.sampling.HasField("top_logprobs")
    assert (made.sampling.seed, made.n) == (-1, 128)
    bare = spec()
    assert not bare.sampling.HasField("temperature")
    assert not bare.HasField("max_tokens")
    assert not bare.HasField("n")


def test_null_is_the_same_as_absent() -> None:
    nulls = dict.fromkeys(("temperature", "max_tokens", "stop", "tools", "stream", "response_format"))
    assert spec(**nulls) == spec()
    assert not spec(**nulls).HasField("sampling")
    assert read(**nulls).stream is None


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("system", ROLE_SYSTEM),
        ("user", ROLE_USER),
        ("assistant", ROLE_ASSISTANT),
        ("tool", ROLE_TOOL),
        ("developer", ROLE_DEVELOPER),
        ("function", ROLE_FUNCTION),
    ],
)
def test_every_role_has_its_value(name: str, role: int) -> None:
    assert spec(messages=[{"role": name, "content": "x"}]).messages[0].role == role


def test_one_stop_text_is_remembered_as_one() -> None:
    assert list(spec(stop="END").sampling.stop) == ["END"]
    assert spec(stop="END").sampling.stop_is_string
    assert not spec(stop=["END"]).sampling.stop_is_string


def test_unknown_fields_are_kept_on_every_level() -> None:
    made = spec(
        user="u1",
        logit_bias={"50256": -100},
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            },
            {"role": "assistant", "content": None, "refusal": None, "reasoning_content": "hm"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "x": 1}}],
        response_format={"type": "json_schema", "json_schema": {"name": "s"}, "y": 2},
    )
    assert json.loads(made.extra_json) == {"user": "u1", "logit_bias": {"50256": -100}}
    part = made.messages[0].parts[0]
    assert (part.text, json.loads(part.extra_json)) == ("a", {"cache_control": {"type": "ephemeral"}})
    assert json.loads(made.messages[1].extra_json) == {"refusal": None, "reasoning_content": "hm"}
    assert not made.messages[1].HasField("text")
    assert json.loads(made.tools[0].extra_json) == {"x": 1}
    assert json.loads(made.tools[0].parameters_json) == {"type": "object"}
    assert json.loads(made.response_format.json_schema) == {"name": "s"}
    assert json.loads(made.response_format.extra_json) == {"y": 2}


def test_known_content_parts_become_typed() -> None:
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "QUJD"}},
    ]
    text, image, audio, file = spec(messages=[{"role": "user", "content": content}]).messages[0].parts
    assert text.text == "look"
    assert (image.image.url, image.image.detail) == ("data:image/png;base64,AAAA", "low")
    assert (audio.audio.data_base64, audio.audio.format) == ("QUJD", "wav")
    assert (file.file.filename, file.file.data) == ("a.pdf", "QUJD")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "max_pixels": 9}},
    ],
)
def test_a_part_the_types_would_mutilate_travels_whole(part: dict[str, object]) -> None:
    made = spec(messages=[{"role": "user", "content": [part]}])
    assert json.loads(made.messages[0].parts[0].other_json) == part


def test_tool_calls_and_their_answers_are_kept() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1'}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "raw"}}
    made = spec(
        messages=[
            {"role": "assistant", "content": None, "tool_calls": [call, custom]},
            {"role": "tool", "content": "4", "tool_call_id": "c1", "name": "f"},
        ],
        tool_choice={"type": "function", "function": {"name": "f"}},
    )
    first, second = made.messages[0].tool_calls
    assert (first.id, first.name, first.arguments, first.type) == ("c1", "f", '{"a": 1', "function")
    assert (second.type, json.loads(second.extra_json)) == (
        "custom",
        {"custom": {"name": "g", "input": "raw"}},
    )
    assert (made.messages[1].tool_call_id, made.messages[1].name) == ("c1", "f")
    assert json.loads(made.tool_choice_json) == {"type": "function", "function": {"name": "f"}}
    assert json.loads(spec(tool_choice="auto").tool_choice_json) == "auto"


def test_tools_of_other_types_travel_whole() -> None:
    tool = {"type": "web_search", "filters": {"a": [1]}}
    assert json.loads(spec(tools=[tool]).tools[0].other_json) == tool


@pytest.mark.parametrize("wanted", [True, False, None])
def test_usage_in_the_stream_is_asked_for_by_stream_options(wanted: bool | None) -> None:
    assert read(stream=True, stream_options={"include_usage": wanted}).include_usage is bool(wanted)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"model": "a\x00b"}, "model"),
        ({"model": "gpt-4\n"}, "model"),
        ({"model": "g\u00fc\x7f"}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [USER, {"role": "robot", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": -0.01}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"presence_penalty": -2.5}, "presence_penalty"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 2**32}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"seed": 2**63}, "seed"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": 3}, "tool_choice"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(fields: dict[str, object], field: str) -> None:
    with pytest.raises(Malformed) as caught:
        spec(**fields)
    assert caught.value.field == field
    assert f"'{field}'" in caught.value.message


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Malformed, match=r"^Field 'model' is missing\.$"):
        ChatRequest(parse(b"{}"))
    with pytest.raises(Malformed, match=r"^Field 'messages' is missing\.$"):
        ChatRequest(parse(b'{"model":"m"}'))
