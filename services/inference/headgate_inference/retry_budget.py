"""The retry budget (decisions.md 16): retries may be a tenth of the calls of the last ten seconds, or ten,
whichever is more; beyond that a failing provider is not made worse by ourselves."""

from collections import deque

from headgate_clock import Clock

_WINDOW_S = 10
_SHARE = 10
_FLOOR = 10


class _Second:
    __slots__ = ("calls", "number", "retries")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0
        self.retries = 0


class RetryBudget:
    """Counts calls and retries by second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque()
        self._calls = 0
        self._retries = 0

    def called(self) -> None:
        """A call has begun."""
        self._now().calls += 1
        self._calls += 1

    def take(self) -> bool:
        """Whether one more retry may be made; if so, it is counted."""
        second = self._now()
        if self._retries >= max(_FLOOR, self._calls // _SHARE):
            return False
        second.retries += 1
        self._retries += 1
        return True

    def _now(self) -> _Second:
        number = int(self._clock.monotonic())
        seconds = self._seconds
        if not seconds or seconds[-1].number != number:
            seconds.append(_Second(number))
            while seconds[0].number <= number - _WINDOW_S:
                past = seconds.popleft()
                self._calls -= past.calls
                self._retries -= past.retries
        return seconds[-1]
