"""However a provider cuts its stream, a client sees the same form: a role, then text, then a finish reason alone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from headgate.inference.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    ChoiceDelta,
    StreamEvent,
    StreamGenerateResponse,
    StreamStart,
    ToolCall,
    Usage,
)
from headgate_gateway.chat.chunks import ChunkRenderer, error_event

START = StreamStart(id="chatcmpl-1", created=7, model="gpt-4")


def raw_events(*events: StreamEvent, include_usage: bool = False) -> list[bytes]:
    renderer = ChunkRenderer(StreamStart(id="fallback"), include_usage=include_usage)
    message = StreamGenerateResponse(start=START, events=events[:1])
    rendered = renderer.render(message)
    for event in events[1:]:
        rendered += renderer.render(StreamGenerateResponse(events=[event]))
    return rendered


def chunks(*events: StreamEvent, include_usage: bool = False) -> Iterator[dict[str, Any]]:
    for data in raw_events(*events, include_usage=include_usage):
        assert data.startswith(b"data: ")
        assert data.endswith(b"\n\n")
        assert data.count(b"\n") == 2
        yield json.loads(data[6:])


def choices(*events: StreamEvent) -> list[tuple[dict[str, Any], str | None]]:
    return [
        (choice["delta"], choice["finish_reason"]) for chunk in chunks(*events) for choice in chunk["choices"]
    ]


def text(piece: str, **fields: object) -> StreamEvent:
    return StreamEvent(choices=[ChoiceDelta(text=piece, **fields)])  # type: ignore[arg-type]


ROLE = ({"role": "assistant", "content": ""}, None)
END: tuple[dict[str, Any], str] = ({}, "stop")


@pytest.mark.parametrize(
    "events",
    [
        [text("", role=ROLE_ASSISTANT), text("Hi"), StreamEvent(choices=[ChoiceDelta(finish_reason="stop")])],
        [StreamEvent(choices=[ChoiceDelta(role=ROLE_ASSISTANT)]), text("Hi"), text("", finish_reason="stop")],
        [text("Hi", role=ROLE_ASSISTANT), StreamEvent(choices=[ChoiceDelta(finish_reason="stop")])],
        [text("Hi", finish_reason="stop")],
        [text("Hi"), StreamEvent(choices=[ChoiceDelta(finish_reason="stop")])],
    ],
    ids=["as documented", "role without text", "role with text", "all in one", "no role"],
)
def test_every_cut_gives_the_same_three_chunks(events: list[StreamEvent]) -> None:
    assert choices(*events) == [ROLE, ({"content": "Hi"}, None), END]


def test_all_chunks_have_the_head_of_the_first_message() -> None:
    for chunk in chunks(text("a"), text("b", finish_reason="stop")):
        assert (chunk["id"], chunk["created"], chunk["model"]) == ("chatcmpl-1", 7, "gpt-4")
        assert chunk["object"] == "chat.completion.chunk"


def test_choices_begin_each_for_itself() -> None:
    both = StreamEvent(choices=[ChoiceDelta(index=0, text="a"), ChoiceDelta(index=1, text="b")])
    seen = [
        (choice["index"], choice["delta"])
        for chunk in chunks(both, StreamEvent(choices=[ChoiceDelta(index=1, text="c")]))
        for choice in chunk["choices"]
    ]
    assert seen == [
        (0, ROLE[0]), (0, {"content": "a"}), (1, ROLE[0]), (1, {"content": "b"}), (1, {"content": "c"}),
    ]  # fmt: skip


def test_tool_calls_come_in_pieces_as_the_provider_sent_them() -> None:
    first = ToolCall(index=0, id="c1", type="function", name="f", arguments="")
    later = ToolCall(index=0, arguments='{"a":')
    seen = choices(
        StreamEvent(choices=[ChoiceDelta(role=ROLE_ASSISTANT, tool_calls=[first])]),
        StreamEvent(choices=[ChoiceDelta(tool_calls=[later])]),
        StreamEvent(choices=[ChoiceDelta(finish_reason="tool_calls")]),
    )
    whole = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert seen == [
        ROLE,
        ({"tool_calls": [whole]}, None),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}, None),
        ({}, "tool_calls"),
    ]


def test_unknown_fields_come_through_on_every_level() -> None:
    delta = ChoiceDelta(
        text="a", delta_extra_json=b'{"reasoning_content":"hm"}', extra_json=b'{"logprobs":{"content":[]}}'
    )
    event = StreamEvent(choices=[delta], extra_json=b'{"system_fingerprint":"fp"}')
    _, chunk = chunks(event)
    assert chunk["system_fingerprint"] == "fp"
    (choice,) = chunk["choices"]
    assert choice["delta"] == {"content": "a", "reasoning_content": "hm"}
    assert choice["logprobs"] == {"content": []}


def test_usage_comes_last_and_only_when_it_was_asked_for() -> None:
    events = (text("a", finish_reason="stop"), StreamEvent(usage=Usage(input_tokens=9, output_tokens=1)))
    assert not [chunk for chunk in chunks(*events) if "usage" in chunk]
    *_, last = chunks(*events, include_usage=True)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}


def test_usage_beside_a_choice_still_gets_a_chunk_of_its_own() -> None:
    event = StreamEvent(choices=[ChoiceDelta(finish_reason="stop")], usage=Usage(input_tokens=1))
    *_, end, last = chunks(text("a"), event, include_usage=True)
    assert end["choices"]
    assert "usage" not in end
    assert last["usage"]


def test_usage_beside_text_is_not_lost() -> None:
    event = StreamEvent(choices=[ChoiceDelta(text="b")], usage=Usage(input_tokens=1))
    *_, piece, last = chunks(text("a"), event, include_usage=True)
    assert piece["choices"][0]["delta"] == {"content": "b"}
    assert last["usage"]


def test_nothing_in_an_event_looks_like_a_line_end() -> None:
    odd = "a\u2028b\u2029c\u0085d\r\ne"
    extra = StreamEvent(choices=[ChoiceDelta(text="x")], extra_json=b'{\n "a" :\r\n 1 }')
    for data in raw_events(text(odd), text(odd), extra):
        assert len(data.decode().splitlines()) == 2
    assert "".join(delta.get("content", "") for delta, _ in choices(text(odd))) == odd


def test_the_joined_deltas_are_the_whole_text() -> None:
    pieces = ["Grüße", " an ", "die 世界", "", " \U0001f600", "\x00", '"\\']
    seen = choices(*map(text, pieces))
    assert "".join(str(delta.get("content", "")) for delta, _ in seen) == "".join(pieces)


def test_an_error_is_one_event() -> None:
    assert error_event(b'{"error":{}}') == b'data: {"error":{}}\n\n'
