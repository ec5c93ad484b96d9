"""A whole reply shows everything the provider said, in the form clients know."""

import json
from typing import Any

from headgate.inference.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    Choice,
    ContentPart,
    GenerateResponse,
    ImagePart,
    Message,
    ToolCall,
    Usage,
)
from headgate_gateway.chat.response import completion_json


def shown(**fields: object) -> dict[str, Any]:
    reply = GenerateResponse(id="chatcmpl-1", created=7, model="m", **fields)  # type: ignore[arg-type]
    tree: dict[str, Any] = json.loads(completion_json(reply))
    return tree


def test_text_comes_back_with_usage_and_finish_reason() -> None:
    choice = Choice(message=Message(role=ROLE_ASSISTANT, text='Grüße "世界"\n\x00'), finish_reason="length")
    assert shown(choices=[choice], usage=Usage(input_tokens=3, output_tokens=4)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": 'Grüße "世界"\n\x00'},
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_content_is_null_when_tools_are_called() -> None:
    call = ToolCall(id="c1", type="function", name="f", arguments="{}", extra_json=b'{"extra_content":1}')
    message = Message(role=ROLE_ASSISTANT, tool_calls=[call])
    (choice,) = shown(choices=[Choice(message=message, finish_reason="tool_calls")])["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": 1}
    ]


def test_unknown_reply_fields_come_through_on_every_level() -> None:
    message = Message(role=ROLE_ASSISTANT, text="x", extra_json=b'{"refusal":null}')
    choice = Choice(message=message, finish_reason="stop", extra_json=b' { "logprobs" : {"content":[]} } ')
    usage = Usage(input_tokens=1, output_tokens=1, extra_json=b'{"queue_time":0.5}')
    tree = shown(choices=[choice], usage=usage, extra_json=b'{"system_fingerprint":"fp"}')
    assert tree["system_fingerprint"] == "fp"
    (first,) = tree["choices"]
    assert first["logprobs"] == {"content": []}
    assert first["message"]["refusal"] is None
    assert tree["usage"]["queue_time"] == 0.5
    assert shown(extra_json=b"{}")["choices"] == []


def test_cached_and_reasoning_tokens_are_details_and_never_said_twice() -> None:
    usage = Usage(input_tokens=9, output_tokens=5, cached_input_tokens=4, reasoning_tokens=2)
    assert shown(usage=usage)["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    usage.extra_json = b'{"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0}}'
    raw = completion_json(GenerateResponse(usage=usage))
    assert raw.count(b"prompt_tokens_details") == 1


def test_content_parts_of_a_reply_come_back_as_parts() -> None:
    parts = [
        ContentPart(text="a", extra_json=b'{"annotations":[]}'),
        ContentPart(image=ImagePart(url="https://example.com/a.png")),
        ContentPart(other_json=b'{"type":"thing"}'),
    ]
    (choice,) = shown(choices=[Choice(message=Message(parts=parts))])["choices"]
    assert choice["message"]["content"] == [
        {"type": "text", "text": "a", "annotations": []},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "thing"},
    ]
    assert choice["finish_reason"] is None
