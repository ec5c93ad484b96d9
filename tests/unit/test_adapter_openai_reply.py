"""Replies of OpenAI-style providers, and the ways in which some of them differ."""

import base64
import struct

import pytest

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.openai_reply import chat_chunk, chat_reply, embeddings_reply


def reply(message: bytes) -> pb.GenerateResponse:
    return chat_reply(
        b'{"id":"r","created":1.0,"choices":[{"message":' + message + b',"finish_reason":"stop"}]}'
    )


def test_content_in_parts_is_kept() -> None:
    parts = reply(b'{"role":"assistant","content":[{"type":"text","text":"x"}]}').choices[0].message.parts
    assert [part.other_json for part in parts] == [b'{"type":"text","text":"x"}']


def test_null_content_with_tool_calls() -> None:
    message = (
        reply(
            b'{"content":null,"tool_calls":[{"id":"c","type":"function","x":1,'
            b'"function":{"name":"f","arguments":{"a":1}}}]}'
        )
        .choices[0]
        .message
    )
    assert not message.HasField("text")
    (call,) = message.tool_calls
    assert (call.id, call.name, call.arguments, call.extra_json) == ("c", "f", '{"a":1}', b'{"x":1}')


def test_usage_details_are_read_and_kept() -> None:
    usage = chat_reply(
        b'{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,'
        b'"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2},"cost":0.1}}'
    ).usage
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (4, 2)
    assert usage.extra_json == (
        b'{"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2},"cost":0.1}'
    )


def test_extra_json_is_on_one_line() -> None:
    made = reply(b'{"content":"x","a":[1,\n 2.50],\r\n"b":1E3}')
    assert made.choices[0].message.extra_json == b'{"a":[1,2.50],"b":1E3}'


def test_a_chunk_that_holds_usage_and_content() -> None:
    chunk = chat_chunk(b'{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}')
    assert chunk.units == 1
    assert chunk.usage is not None
    assert not chunk.event.HasField("usage")


@pytest.mark.parametrize(
    ("delta", "units"),
    [
        (b'{"content":""}', 0),
        (b'{"role":"assistant"}', 0),
        (b'{"refusal":null}', 0),
        (b'{"reasoning":"x"}', 1),
    ],
)
def test_only_content_counts_as_content(delta: bytes, units: int) -> None:
    assert chat_chunk(b'{"choices":[{"index":0,"delta":' + delta + b"}]}").units == units


def test_vectors_are_put_in_order_and_may_be_base64() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2.0))
    made = embeddings_reply(
        b'{"data":[{"index":1,"embedding":"' + packed + b'"},{"index":0,"embedding":[0.1,1e-3]}]}', 2
    )
    assert [list(each.values) for each in made.embeddings] == [[0.1, 0.001], [0.5, -2.0]]


@pytest.mark.parametrize(
    "data",
    [
        b'{"data":[]}',
        b'{"data":[{"index":1,"embedding":[1]}]}',
        b'{"data":[{"index":-1,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[]}]}',
        b'{"data":[{"index":0,"embedding":"AAA="}]}',
        b'{"data":[{"index":0}]}',
        b'{"data":[{"index":0,"embedding":[1e999]}]}',
    ],
)
def test_vectors_that_do_not_answer_the_inputs_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        embeddings_reply(data, 1)
