"""Watches what stops everybody at once: event-loop pauses and garbage collection."""

import asyncio
import gc
import time
from collections.abc import Callable

from headgate_telemetry.metrics import Metrics

TICK = 0.01
"""Seconds between two looks at the loop; a pause is measured to about this much."""

WINDOW = 60.0
"""Seconds over which the longest pause is remembered, at least."""

_PAUSES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class LoopWatch:
    """Measures how late the loop runs a timer. The longest pause is that of the last one to two minutes, whoever
    scrapes how often."""

    def __init__(self, metrics: Metrics) -> None:
        # The longest of this window and of the one before.
        self._longest = self._before = 0.0
        self._window_ends = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pauses = metrics.distribution(
            "headgate_event_loop_lag_seconds", "How late the loop ran a timer.", (), _PAUSES
        )
        metrics.gauge(
            "headgate_event_loop_pause_seconds",
            "Longest pause of the last one to two minutes.",
            lambda: max(self._longest, self._before),
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch `loop`."""
        due = loop.time() + TICK
        self._timer = loop.call_at(due, self._tick, loop, due)

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        # The loop's own time may be cached from the start of the turn; a pause shows on the real clock.
        self.observe(due, time.monotonic())
        self.start(loop)

    def observe(self, due: float, now: float) -> None:
        """Count a timer that was due at `due` and ran at `now`, in seconds of one clock."""
        lag = max(now - due, 0.0)
        self._pauses.observe((), lag)
        if now >= self._window_ends:
            self._before = self._longest
            self._longest = 0.0
            self._window_ends = now + WINDOW
        self._longest = max(self._longest, lag)


class GarbageWatch:
    """Measures the pauses of the garbage collector, by generation."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = 0.0
        self._pauses = metrics.distribution(
            "headgate_gc_pause_seconds", "Pauses for garbage collection.", ("generation",), _PAUSES
        )

    def start(self) -> None:
        """Begin to watch the collector of this process."""
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """Stop watching."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = self._clock()
        else:
            self._pauses.observe((str(info["generation"]),), self._clock() - self._began)
