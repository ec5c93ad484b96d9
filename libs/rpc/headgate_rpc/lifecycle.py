"""How a process lives: parts start in order, stop in the opposite order, and a signal ends them gently."""

import asyncio
import signal
from collections.abc import Callable
from typing import Protocol


class Part(Protocol):
    """Something with a beginning and an end."""

    async def start(self) -> None:
        """Return when it works. May raise; what was started before is stopped then."""

    async def stop(self) -> None:
        """Return when it has let go of everything."""


async def until_signalled(on_second: Callable[[], None]) -> signal.Signals:
    """Wait for SIGINT or SIGTERM. A second one, from an impatient user, runs `on_second`."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()

    def receive(number: signal.Signals) -> None:
        if received.done():
            on_second()
        else:
            received.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive, number)
    return await received
