"""The time that buckets refill by, in a process that shares them with no other."""

from headgate_clock import Clock


class SteadyTime:
    """Milliseconds since the Unix epoch that follow the monotonic clock: a step of the machine's time while the
    process runs neither fills a bucket nor holds it empty."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = clock.wall_ms() - clock.monotonic() * 1000

    def now_ms(self) -> int:
        """Now, by the wall clock of the start and what has passed since."""
        return int(self._offset_ms + self._clock.monotonic() * 1000)
