"""The canonical request becomes the OpenAI body that a client of that API would have sent."""

import json

import pytest

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.openai_request import chat_body, embed_body
from headgate_rpc.errors import HeadgateError

USER = pb.Message(role=pb.ROLE_USER, text="hi")


def body(spec: pb.GenerationSpec, *, stream: bool = False) -> dict[str, object]:
    decoded = json.loads(chat_body(spec, "up", stream=stream))
    assert isinstance(decoded, dict)
    return decoded


def test_the_least_request() -> None:
    assert body(pb.GenerationSpec(model="m", messages=[USER])) == {
        "model": "up",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_a_stream_asks_for_usage() -> None:
    sent = body(pb.GenerationSpec(model="m", messages=[USER]), stream=True)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


def test_every_field() -> None:
    spec = pb.GenerationSpec(
        model="m",
        sampling=pb.Sampling(
            temperature=0.7, top_p=0.0, presence_penalty=-1, frequency_penalty=1.5, seed=-3,
            stop=["x"], stop_is_string=True, logprobs=True, top_logprobs=0,
        ),
        max_tokens=5,
        max_completion_tokens=6,
        n=2,
        tools=[
            pb.Tool(name="f", description="d", parameters_json=b'{"a":1.0}', strict=False, extra_json=b'{"z":1}'),
            pb.Tool(other_json=b'{"type":"web"}'),
        ],
        tool_choice_json=b'"auto"',
        response_format=pb.ResponseFormat(type="json_schema", json_schema=b'{"name":"n"}'),
        extra_json=b'{"user":"u"}',
    )  # fmt: skip
    spec.messages.extend(
        [
            pb.Message(
                role=pb.ROLE_USER,
                parts=[
                    pb.ContentPart(text=""),
                    pb.ContentPart(image=pb.ImagePart(url="data:x", detail="low")),
                    pb.ContentPart(audio=pb.AudioPart(data_base64="AA", format="wav")),
                    pb.ContentPart(file=pb.FilePart(file_id="f1"), extra_json=b'{"cache":true}'),
                    pb.ContentPart(other_json=b'{"type":"video"}'),
                ],
                name="ann",
            ),
            pb.Message(
                role=pb.ROLE_ASSISTANT,
                tool_calls=[
                    pb.ToolCall(id="c", name="f", arguments="{bad"),
                    pb.ToolCall(id="d", type="custom", extra_json=b'{"custom":{"name":"g"}}'),
                ],
            ),
            pb.Message(role=pb.ROLE_TOOL, text="", tool_call_id="c", extra_json=b'{"k":null}'),
        ]
    )
    assert body(spec) == {
        "model": "up", "temperature": 0.7, "top_p": 0.0, "presence_penalty": -1.0, "frequency_penalty": 1.5,
        "seed": -3, "stop": "x", "logprobs": True, "top_logprobs": 0, "max_tokens": 5, "max_completion_tokens": 6,
        "n": 2, "tool_choice": "auto", "user": "u",
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"a": 1.0}, "strict": False, "z": 1},
            },
            {"type": "web"},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
        "messages": [
            {
                "role": "user",
                "name": "ann",
                "content": [
                    {"type": "text", "text": ""},
                    {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "f1"}, "cache": True},
                    {"type": "video"},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{bad"}},
                    {"id": "d", "type": "custom", "custom": {"name": "g"}},
                ],
            },
            {"role": "tool", "content": "", "tool_call_id": "c", "k": None},
        ],
    }  # fmt: skip


def test_a_list_of_stops_stays_a_list() -> None:
    assert body(pb.GenerationSpec(messages=[USER], sampling=pb.Sampling(stop=["x"])))["stop"] == ["x"]


@pytest.mark.parametrize(
    "name", ["model", "messages", "stream", "stream_options", "temperature", "n", "tools"]
)
def test_a_typed_field_cannot_be_set_a_second_time(name: str) -> None:
    spec = pb.GenerationSpec(messages=[USER], extra_json=json.dumps({name: 1}).encode())
    with pytest.raises(HeadgateError) as caught:
        body(spec)
    assert caught.value.field == "extra_json"


@pytest.mark.parametrize(
    "request_",
    [
        (pb.EmbedRequest(texts=["a", "b"], dimensions=8, extra_json=b'{"user":"u"}'), ["a", "b"]),
        (
            pb.EmbedRequest(tokens=[pb.TokenIds(ids=[1, 2])], dimensions=8, extra_json=b'{"user":"u"}'),
            [[1, 2]],
        ),
    ],
)
def test_an_embeddings_request(request_: tuple[pb.EmbedRequest, object]) -> None:
    request, inputs = request_
    assert json.loads(embed_body(request, "up")) == {
        "model": "up",
        "input": inputs,
        "encoding_format": "float",
        "dimensions": 8,
        "user": "u",
    }
