"""Keeps one process for each service: starts them, starts again what dies, ends them in order."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence

from headgate_hosting.faults import CannotServe
from headgate_suite.child import Child
from headgate_telemetry.logs import get_logger

log = get_logger()

# Callers first, then what they call; metering last, since all others bring it what is left.
STOP_ORDER = (("gateway",), ("inference",), ("auth", "registry", "routing"), ("metering",))

_FIRST_PAUSE_S = 0.2
_MOST_PAUSE_S = 10.0
# What has lived this long did not die of its start.
_STEADY_S = 10.0
# Then what is left is sent: usage, spans, log lines.
_FLUSH_S = 15.0


class Supervisor:
    """The children by service. `leave_s` is the longest time from a stop to the end of a child's last call."""

    def __init__(self, children: Sequence[Child], leave_s: float) -> None:
        self._children: Mapping[str, Child] = {child.service: child for child in children}
        self._patience_s = leave_s + _FLUSH_S
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when all are ready. Raises CannotServe when one ends instead; it has said why."""
        await asyncio.gather(*(child.start() for child in self._children.values()))
        await asyncio.gather(*(self._first_start(child) for child in self._children.values()))
        self._keeping = [asyncio.create_task(self._keep(child)) for child in self._children.values()]

    async def stop(self) -> None:
        """End all, each group when the one before it has ended."""
        await _cancel(*self._keeping)
        for group in STOP_ORDER:
            running = [self._children[name] for name in group if self._children[name].alive]
            await asyncio.gather(*(child.stop(self._patience_s) for child in running))

    def kill(self) -> None:
        """End all at once."""
        for child in self._children.values():
            child.signal(signal.SIGKILL)

    async def _first_start(self, child: Child) -> None:
        ready, ended = asyncio.create_task(child.ready.wait()), asyncio.create_task(child.ended())
        try:
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise CannotServe(f"{child.service} did not start (exit status {ended.result()})")
        finally:
            await _cancel(ready, ended)

    async def _keep(self, child: Child) -> None:
        now: Callable[[], float] = asyncio.get_running_loop().time
        pause_s, began = _FIRST_PAUSE_S, now()
        while True:
            status = await child.ended()
            if now() - began > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            log.error("a service ended", ended=child.service, status=status, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s, began = min(2 * pause_s, _MOST_PAUSE_S), now()
            await child.start()


async def _cancel(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
