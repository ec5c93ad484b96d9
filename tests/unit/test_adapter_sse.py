"""Events come out the same however their bytes were cut, and no body makes the parser crash, hang or hoard."""

from collections.abc import Iterator
from random import Random

import pytest

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.base import Batch
from headgate_inference.adapters.openai import OpenAIStream
from headgate_inference.adapters.sse import SseOverflow, SseParser
from headgate_inference.adapters.transport import TransportError
from headgate_inference.faults import AttemptFault

BODY = (
    b"\xef\xbb\xbf: hello\n\ndata: one\n\nevent: x\r\nid: 7\r\ndata:two\r\n\r\n"
    b"data: a\rdata: b\r\rretry: 10\n\ndata:  spaced\n\ndata\n\ndata: \xe6\x97\xa5\n\n\n\ndata: [DONE]\n\n"
)
EVENTS = [b"one", b"two", b"a\nb", b" spaced", b"\xe6\x97\xa5", b"[DONE]"]


def parse(pieces: list[bytes], limit: int = 1000) -> list[bytes]:
    parser = SseParser(limit)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.finish()


def test_a_body_in_one_piece() -> None:
    assert parse([BODY]) == EVENTS


def test_a_body_split_at_every_byte() -> None:
    assert parse([BODY[i : i + 1] for i in range(len(BODY))]) == EVENTS


@pytest.mark.parametrize("place", range(1, len(BODY)))
def test_a_body_split_at_any_one_place(place: int) -> None:
    assert parse([BODY[:place], BODY[place:]]) == EVENTS


def test_a_missing_last_line_end_does_not_lose_the_event() -> None:
    assert parse([b"data: one\n\ndata: [DONE]"]) == [b"one", b"[DONE]"]
    assert parse([b"data: one\n\ndata: [DONE]\n"]) == [b"one", b"[DONE]"]


def test_an_event_completed_by_a_read_is_there_at_once() -> None:
    parser = SseParser(100)
    assert parser.feed(b"data: one\r\n\r") == [b"one"]
    assert parser.feed(b"\ndata: two\n") == []
    assert parser.feed(b"\n") == [b"two"]


@pytest.mark.parametrize("body", [b"data: " + b"x" * 60, b": " + b"x" * 60, b"data: xxxxxxxxx\n" * 10])
def test_an_event_beyond_the_limit_is_refused_whatever_its_pieces(body: bytes) -> None:
    for step in (1, 7, len(body)):
        with pytest.raises(SseOverflow):
            parse([body[i : i + step] for i in range(0, len(body), step)], limit=50)


def test_many_small_events_are_not_one_large() -> None:
    assert len(parse([b"data: xxxxxxxxx\n\n" * 100], limit=50)) == 100


class Reply:
    """A ProviderReply from a list of pieces; ends by a fault when `broken`."""

    def __init__(self, pieces: list[bytes], *, broken: bool = False) -> None:
        self.status = 200
        self.due: float | None = None
        self._pieces = iter(pieces)
        self._broken = broken
        self.ended = ""

    def header(self, name: str) -> str:
        return ""

    async def read(self) -> bytes:
        piece = next(self._pieces, b"")
        if not piece and self._broken:
            raise TransportError
        return piece

    def close(self) -> None:
        self.ended = "closed"

    def release(self) -> None:
        self.ended = "released"


async def drain(stream: OpenAIStream) -> tuple[list[pb.StreamEvent], int, AttemptFault | None]:
    events: list[pb.StreamEvent] = []
    units = 0
    try:
        while (batch := await stream.read()) is not None:
            assert isinstance(batch, Batch)
            assert batch.events
            events += batch.events
            units += batch.units
    except AttemptFault as fault:
        return events, units, fault
    finally:
        stream.close()
    return events, units, None


GOOD = [
    b'{"id":"x","created":1,"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"na\xc3\xafve"},"logprobs":null,"finish_reason":null}]}',
    b'{"choices":[{"index":0,"delta":{"content":"\\ud83d\\ude00"}}],"usage":null}',
    b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}',
    b'{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
    b'{"choices":[{"index":1,"delta":{"content":"b"}}],"x":[1,{"y":2}]}',
    b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"stop"}]}',
    b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}',
    b"[DONE]",
]
BAD = [
    b"<html>", b"{", b"null", b"[]", b'{"choices":3}', b'{"choices":[3]}', b'{"choices":[{"delta":[]}]}',
    b'{"choices":[{"index":-1,"delta":{}}]}', b'{"choices":[{"index":99999999999,"delta":{}}]}',
    b'{"choices":[{"index":0,"delta":{"content":7}}]}', b'{"choices":[{"delta":{"content":"\xff"}}]}',
    b'{"choices":[{"delta":{"content":"\\ud800"}}]}', b'{"error":"boom"}', b'{"error":{"code":429}}', b"",
    b'{"id":5}', b'{"created":"now","choices":[]}', b'{"created":1e300,"choices":[]}', b"[" * 5000,
    b'{"choices":[{"delta":{"x":"\xff"}}]}', b'{"choices":[{"delta":{"tool_calls":[{"index":"a"}]}}]}',
    b'{"choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":"x"}}', b'{"usage":7}', b'{"usage":[[]]}',
]  # fmt: skip


def fuzzed(rng: Random) -> Iterator[bytes]:
    """The bytes of a body that is more or less a stream."""
    for _ in range(rng.randint(0, 12)):
        line_end = rng.choice([b"\n", b"\r\n", b"\r"])
        kind = rng.random()
        if kind < 0.7:
            payload = rng.choice(GOOD)
        elif kind < 0.85:
            payload = rng.choice(BAD)
        else:
            payload = bytes(rng.randrange(256) for _ in range(rng.randint(0, 40)))
        yield (
            rng.choice([b"data: ", b"data:", b"data: ", b"data: ", b": ", b"", b"event: "])
            + payload
            + line_end
        )
        yield line_end if rng.random() < 0.95 else b""


async def test_a_thousand_fuzzed_bodies_end_properly_and_alike_however_split() -> None:
    seed = 20_261
    print(f"seed {seed}")
    rng = Random(seed)
    faults = 0
    for _ in range(1000):
        body = b"".join(fuzzed(rng))
        body = body[: rng.randint(0, len(body))] if rng.random() < 0.2 else body
        broken = rng.random() < 0.2
        whole = Reply([body] if body else [], broken=broken)
        single = Reply([body[i : i + 1] for i in range(len(body))], broken=broken)
        events, units, fault = await drain(OpenAIStream(whole, 2000))
        again = await drain(OpenAIStream(single, 2000))
        assert (events, units, fault is None) == (again[0], again[1], again[2] is None), body
        assert whole.ended == single.ended == ("released" if fault is None else "closed")
        faults += fault is not None
        content = sum(bool(c.text or c.tool_calls or c.delta_extra_json) for e in events for c in e.choices)
        assert units <= content
    assert 300 < faults < 950


async def test_the_good_events_of_the_fuzzer_are_a_complete_stream() -> None:
    body = b"".join(b"data: " + event + b"\n\n" for event in GOOD)
    stream = OpenAIStream(Reply([body]), 2000)
    events, units, fault = await drain(stream)
    assert (fault, units, len(events)) == (None, 5, 7)
    assert stream.complete
    assert stream.usage is not None
    assert (stream.usage.input_tokens, stream.finish_reasons) == (1, ["stop", "stop"])


async def test_a_stream_whose_second_choice_is_unfinished_is_cut() -> None:
    events = [
        b'{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}',
        b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    ]
    body = b"".join(b"data: " + event + b"\n\n" for event in events)
    _, units, fault = await drain(OpenAIStream(Reply([body]), 2000))
    assert units == 2
    assert fault is not None
    assert fault.error.message == "The provider ended the stream early."


async def test_what_is_ready_in_one_read_is_one_batch() -> None:
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"t"}}]}\n\n'
    stream = OpenAIStream(Reply([piece * 5, piece * 3]), 2000)
    first, second = await stream.read(), await stream.read()
    assert first is not None
    assert second is not None
    assert (first.units, second.units) == (5, 3)
