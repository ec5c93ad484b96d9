"""A clock that moves only when a test says so."""


class FakeClock:
    """Both times of `headgate_clock.Clock`, stepped by hand."""

    def __init__(self, wall_ms: int = 1_700_000_000_000, monotonic: float = 1000.0) -> None:
        self._wall_ms = float(wall_ms)
        self._monotonic = monotonic

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return int(self._wall_ms)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move together."""
        self._wall_ms += seconds * 1000
        self._monotonic += seconds

    def skew(self, seconds: float) -> None:
        """Step the wall clock alone, as a correction of the machine's time does; may be negative."""
        self._wall_ms += seconds * 1000
