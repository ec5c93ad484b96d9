"""Calls that are running and must end when their key does (AUTH-19)."""

import asyncio
from collections.abc import Awaitable, Callable

from headgate_rpc.call import CallContext

Cut = Callable[[], None]
IsGood = Callable[[CallContext], Awaitable[bool]]


class OpenCalls:
    """Running calls by the names they can be invalidated by.

    An invalidation says that a principal changed or ended; which of the two is asked once for each call, and
    only calls whose credential is refused now are cut.
    """

    def __init__(self, is_good: IsGood) -> None:
        self._is_good = is_good
        self._by_name: dict[str, dict[CallContext, Cut]] = {}
        self._checks: set[asyncio.Task[None]] = set()

    def add(self, call: CallContext, cut: Cut) -> None:
        """Watch over a call with a principal until it ends."""
        for name in _names(call):
            self._by_name.setdefault(name, {})[call] = cut
        call.add_done_callback(lambda: self._remove(call))

    def check(self, call: CallContext, cut: Cut) -> None:
        """Cut the call if its credential is refused now."""
        task = asyncio.create_task(self._check(call, cut))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    def check_named(self, names: tuple[str, ...]) -> None:
        """Check the calls of these principals and accounts."""
        for name in names:
            for call, cut in self._by_name.get(name, {}).items():
                self.check(call, cut)

    def check_all(self) -> None:
        """Check every call: an invalidation may have been missed."""
        self.check_named(tuple(name for name in self._by_name if name.startswith("principal/")))

    async def _check(self, call: CallContext, cut: Cut) -> None:
        if not await self._is_good(call):
            cut()

    def _remove(self, call: CallContext) -> None:
        for name in _names(call):
            calls = self._by_name.get(name, {})
            calls.pop(call, None)
            if not calls:
                self._by_name.pop(name, None)


def _names(call: CallContext) -> tuple[str, ...]:
    principal = call.principal
    if principal is None:
        return ()
    return f"principal/{principal.id}", f"account/{principal.account_id}"
