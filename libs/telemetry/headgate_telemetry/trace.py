"""W3C trace context: parse and write `traceparent`, make span ids, decide once per trace whether it is kept."""

import re
from random import getrandbits

from headgate_telemetry.record import TraceContext

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
_ALL = 1 << 64
_LOW = _ALL - 1

# Process-wide, as the ids are: every part of a trace must come to the same decision.
_keep_below = _ALL


def sample_new_traces(ratio: float) -> None:
    """Keep this share (0 to 1) of the traces that begin here; one that was begun elsewhere keeps its decision.
    Raises ValueError."""
    global _keep_below
    if not 0 <= ratio <= 1:
        raise ValueError(f"{ratio} is not between 0 and 1")
    _keep_below = int(ratio * _ALL)


def continue_trace(traceparent: str | None) -> TraceContext:
    """A new span below the caller's `traceparent`, or the root of a new trace when it is absent or malformed."""
    if traceparent:
        caller = parse_traceparent(traceparent)
        if caller is not None:
            return child_of(caller)
    return new_trace()


def new_trace() -> TraceContext:
    """The root of a new trace."""
    number = getrandbits(128) or 1
    trace_id = "%032x" % number  # noqa: UP031 - two thirds of an f-string's time
    return TraceContext(trace_id, new_span_id(), "", number & _LOW < _keep_below)


def child_of(parent: TraceContext) -> TraceContext:
    """A new span below `parent`, in its trace and with its sampling decision."""
    return TraceContext(parent.trace_id, new_span_id(), parent.span_id, parent.sampled)


def new_span_id() -> str:
    """16 random hex digits, never all zero."""
    return "%016x" % (getrandbits(64) or 1)


def format_traceparent(trace: TraceContext) -> str:
    """The `traceparent` to send to whoever is called from this span."""
    return f"00-{trace.trace_id}-{trace.span_id}-{'01' if trace.sampled else '00'}"


def parse_traceparent(value: str) -> TraceContext | None:
    """The sender's span, or None when the value breaks W3C Trace Context, section 3.2."""
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, "", bool(int(flags, 16) & 1))
