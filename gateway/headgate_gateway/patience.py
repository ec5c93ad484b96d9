"""How long a connection waits for its client: for what is due, and for a next request."""

import asyncio
from collections.abc import Callable


class Patience:
    """Two timers; times in seconds. `on_late` is called when what was expected has not come, `on_idle` when no
    request came for `idle_timeout`."""

    __slots__ = ("_due", "_idle_since", "_idle_timeout", "_idle_timer", "_loop", "_on_idle", "_on_late")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        idle_timeout: float,
        on_late: Callable[[], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._idle_timeout = idle_timeout
        self._on_late = on_late
        self._on_idle = on_idle
        self._due: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def expects(self) -> bool:
        """Whether something is due."""
        return self._due is not None

    def expect(self, seconds: float) -> None:
        """Something must come within so long; what was expected before no longer counts."""
        self.expect_nothing()
        self._due = self._loop.call_later(seconds, self._late)

    def expect_nothing(self) -> None:
        """Nothing is due."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def idle(self) -> None:
        """Every request has its reply. The timer is not set anew for each of them: it looks when it rings."""
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._idle_timeout, self._idle_late)

    def busy(self) -> None:
        """Something came."""
        self._idle_since = None

    def end(self) -> None:
        """The connection is gone."""
        self.expect_nothing()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _late(self) -> None:
        self._due = None
        self._on_late()

    def _idle_late(self) -> None:
        self._idle_timer = None
        if self._idle_since is None:
            return
        left = self._idle_since + self._idle_timeout - self._loop.time()
        if left > 0:
            self._idle_timer = self._loop.call_later(left, self._idle_late)
        else:
            self._on_idle()
