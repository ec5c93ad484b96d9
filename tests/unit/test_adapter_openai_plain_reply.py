"""A plain reply is read in one pass, and then it says what the member by member reading says."""

import copy
import json
import random

import pytest

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.openai_plain_reply import plain_reply
from headgate_inference.adapters.openai_reply import any_reply, chat_reply

LEAST = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hé"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
}
OPENAI = LEAST | {
    "choices": [
        {
            "index": place,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "annotations": [{"a": 1.50}]},
            "logprobs": {"content": []},
            "finish_reason": "length",
        }
        for place in range(2)
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
VLLM = LEAST | {
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "reasoning_content": "\n"},
            "logprobs": None,
            "finish_reason": "stop",
            "stop_reason": 128009,
        }
    ]
}
ODD: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    7,
    2**31,
    2**32,
    2**63,
    10**30,
    "",
    "x",
    "é",
    [],
    {},
    [None],
    {"x": 1},
    [{"x": 1}],
)


@pytest.mark.parametrize("reply", [LEAST, OPENAI, VLLM], ids=["least", "openai", "vllm"])
def test_what_providers_send_is_plain(reply: object) -> None:
    data = json.dumps(reply).encode()
    assert plain_reply(data) == any_reply(data)


def test_a_plain_reply_reads_as_any_other() -> None:
    draw = random.Random(7)
    plain = 0
    for _ in range(20_000):
        data = mutated(draw)
        try:
            reply = plain_reply(data)
        except (ValueError, RecursionError):
            continue
        plain += 1
        assert reply == any_reply(data), data
    assert plain > 1000


@pytest.mark.parametrize("member", ["id", "created", "usage", "model"])
def test_a_reply_without_a_member_is_still_read(member: str) -> None:
    data = json.dumps({name: value for name, value in OPENAI.items() if name != member}).encode()
    assert chat_reply(data) == any_reply(data) != pb.GenerateResponse()


def mutated(draw: random.Random) -> bytes:
    """A reply with some members replaced, added or taken away."""
    reply = copy.deepcopy(draw.choice((LEAST, OPENAI, VLLM)))
    for _ in range(draw.randrange(1, 3)):
        place = draw.choice(objects(reply))
        name = draw.choice([*place, "error", "tool_calls", "x"])
        if draw.random() < 0.2:
            place.pop(name, None)
        else:
            place[name] = copy.deepcopy(draw.choice(ODD))
    return json.dumps(reply, ensure_ascii=draw.random() < 0.5).encode()


def objects(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(each for inner in value.values() for each in objects(inner))]
    return [each for inner in value for each in objects(inner)] if isinstance(value, list) else []
