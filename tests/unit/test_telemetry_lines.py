"""R38: whatever is in a value, one event is one line, and it parses."""

import json
import random
from typing import TypeVar

import msgspec
import pytest

from headgate_telemetry.lines import iso_time, render
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord
from headgate_telemetry.request_log import attempt_line, call_line, edge_line
from headgate_telemetry.trace import new_trace

Record = TypeVar("Record", bound=msgspec.Struct)

FORGERIES = ["\r", "\n", "\r\n", "\x1b[2K\x1b[1A", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x9b31m",
             "\x7f", "\x00", '"', "\\", '"}\n{"event":"request"', "\u202e", "\ufeff", "\ud800", "😀", "ä"]  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_value_or_name_ends_a_line_or_steers_a_terminal(forgery):
    line = render({"event": f"a{forgery}b", f"name{forgery}": 1})
    text = line.decode()
    assert text.endswith("}\n")
    assert len(text.splitlines()) == 1
    assert not any(character in text[:-1] for character in "\x1b\x7f\x85\x9b\u2028\u2029\u202e\ufeff")
    assert json.loads(text)["event"] in (f"a{forgery}b", "a?b")


def test_a_thousand_mixes_of_forgeries_are_a_thousand_lines():
    draw = random.Random(7)
    mixes = ["".join(draw.choices(FORGERIES, k=9)) for _ in range(1000)]
    lines = b"".join(render({"event": mix}) for mix in mixes).decode().splitlines()
    assert len(lines) == 1000
    assert all(json.loads(line) for line in lines)


def forged(record: Record, draw: random.Random) -> Record:
    """The record with forgeries in every text there is."""
    mixes = {
        each.name: "x" + "".join(draw.choices(FORGERIES, k=6))
        for each in msgspec.structs.fields(record)
        if each.type is str
    }
    return msgspec.structs.replace(record, **mixes)


def test_ten_thousand_forged_requests_are_as_many_lines_each_with_its_event():
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw, trace, written, meant = random.Random(seed), new_trace(), [], []
    for _ in range(10_000):
        call = forged(CallRecord("", "", "", "", trace, 1), draw)
        attempt = forged(AttemptRecord(1, "", "", "", trace, 1), draw)
        edge = forged(EdgeRecord("", "", "", trace, 1), draw)
        written += [call_line(call, "s"), attempt_line(call, attempt, "s"), edge_line(edge, "s")]
        meant += ["request", "attempt", "request"]
    lines = b"".join(written).decode().splitlines()
    assert [json.loads(line)["event"] for line in lines] == meant


@pytest.mark.parametrize(
    "odd", [1 << 70, float("nan"), {1: "a"}, {"a": {2: object()}}, b"bytes", {"s": "\udfff"}]
)
def test_values_without_a_json_form_become_text(odd):
    assert json.loads(render({"odd": odd}), parse_constant=pytest.fail)


def test_endless_nesting_is_cut():
    endless: list[object] = []
    endless.append(endless)
    assert json.loads(render({"endless": endless}))


def test_times_are_utc_with_milliseconds():
    assert iso_time(1_795_252_320_123_999_999) == "2026-11-21T09:12:00.123Z"
