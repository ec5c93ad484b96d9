"""Stops a flood of identical warnings and errors: when something is away, every call says so, and the line that
explains why would be lost among a million others (failure mode F46)."""

from collections.abc import Callable, Hashable, Mapping

BURST = 10
"""Identical lines that are written in one window."""

WINDOW = 10.0
"""Seconds; then as many may follow, the first with the number of those left out."""

_KINDS = 512


class Repeats:
    """Counts lines by what they say. `clock` is in seconds and never goes back; `on_drop` is told of every line
    that is left out. Lines of more than 512 kinds in one window are counted as one kind, so that text that differs
    each time makes no flood either."""

    def __init__(self, clock: Callable[[], float], on_drop: Callable[[int], None]) -> None:
        self._clock = clock
        self._on_drop = on_drop
        self._window_ends = 0.0
        self._seen: dict[Hashable, int] = {}
        self._left_out: dict[Hashable, int] = {}

    def left_out(self, kind: Hashable) -> int | None:
        """None when this line is one too many; else how many like it were left out in the window before."""
        now = self._clock()
        if now >= self._window_ends:
            self._window_ends = now + WINDOW
            self._left_out = {each: seen - BURST for each, seen in self._seen.items() if seen > BURST}
            self._seen = {}
        # Several threads log; a line miscounted between two of them does no harm, a lock might.
        seen = self._seen
        if kind not in seen and len(seen) >= _KINDS:
            kind = None
        count = seen[kind] = seen.get(kind, 0) + 1
        if count > BURST:
            self._on_drop(1)
            return None
        return self._left_out.pop(kind, 0)


def kind_of(level: str, event: Mapping[str, object]) -> Hashable:
    """What makes two lines identical: level, event, texts that are no ids, the class of the exception."""
    texts = tuple(
        value for name, value in event.items() if isinstance(value, str) and not name.endswith("_id")
    )
    fault = event.get("exc_info")
    if isinstance(fault, tuple) and fault:
        fault = fault[1]
    return (level, texts, type(fault))
