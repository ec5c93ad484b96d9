"""The clock protocol and the machine's own clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two kinds of time: `wall_ms` may step, `monotonic` never goes back and means nothing elsewhere."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment of this process."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    # Asked ten times in a call: the function itself, without a frame around it.
    monotonic = staticmethod(time.monotonic)
