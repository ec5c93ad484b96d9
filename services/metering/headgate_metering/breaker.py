"""Leaves a store alone that does not answer: to wait for it at every ask would cost each its whole timeout."""

from headgate_clock import Clock

FAILURES = 5
FAILING_S = 1.0
PAUSE_S = 0.5


class Breaker:
    """Opens after `FAILURES` failures in a row, or when they have gone on for `FAILING_S` seconds. While it is
    open, one call in `PAUSE_S` seconds may try."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._failing_since = 0.0
        self._try_again_at = 0.0
        self.open = False

    def allows(self) -> bool:
        """Whether a call may be made now; its end must be told."""
        if not self.open:
            return True
        now = self._clock.monotonic()
        if now < self._try_again_at:
            return False
        self._try_again_at = now + PAUSE_S
        return True

    def succeeded(self) -> None:
        """The call was answered."""
        self._failures = 0
        self.open = False

    def failed(self) -> None:
        """The call was not answered."""
        now = self._clock.monotonic()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if self._failures >= FAILURES or now - self._failing_since >= FAILING_S:
            self.open = True
            self._try_again_at = now + PAUSE_S
