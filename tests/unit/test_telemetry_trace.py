"""Trace context: strict in what is taken, W3C in what is sent, one decision per trace."""

import pytest

from headgate_telemetry.trace import (
    child_of,
    continue_trace,
    format_traceparent,
    parse_traceparent,
    sample_new_traces,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def keep_all():
    yield
    sample_new_traces(1.0)


def test_a_callers_trace_is_continued_below_its_span():
    trace = continue_trace(f"00-{TRACE}-{SPAN}-01")
    assert (trace.trace_id, trace.parent_span_id, trace.sampled) == (TRACE, SPAN, True)
    assert trace.span_id != SPAN
    assert format_traceparent(trace) == f"00-{TRACE}-{trace.span_id}-01"


def test_the_callers_decision_wins_over_the_ratio():
    sample_new_traces(0.0)
    assert continue_trace(f"00-{TRACE}-{SPAN}-01").sampled
    sample_new_traces(1.0)
    assert not continue_trace(f"00-{TRACE}-{SPAN}-00").sampled
    assert not child_of(continue_trace(f"00-{TRACE}-{SPAN}-00")).sampled


def test_without_a_caller_a_root_begins():
    trace = continue_trace(None)
    assert trace.parent_span_id == ""
    assert parse_traceparent(format_traceparent(trace)) is not None
    assert continue_trace("").trace_id != trace.trace_id


def test_the_ratio_keeps_about_its_share_of_new_traces():
    sample_new_traces(0.25)
    kept = sum(continue_trace(None).sampled for _ in range(4000))
    assert 800 < kept < 1200  # 7 standard deviations


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_ratio_outside_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match="between 0 and 1"):
        sample_new_traces(ratio)


@pytest.mark.parametrize(
    "bad",
    [
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        "x" * 100_000,
    ],
)
def test_a_malformed_traceparent_begins_a_new_trace(bad):
    assert parse_traceparent(bad) is None
    assert continue_trace(bad).parent_span_id == ""


def test_a_later_version_is_read_by_its_first_four_fields():
    trace = parse_traceparent(f"01-{TRACE}-{SPAN}-03-what-comes")
    assert trace is not None
    assert (trace.trace_id, trace.span_id, trace.sampled) == (TRACE, SPAN, True)
