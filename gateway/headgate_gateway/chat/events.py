"""Writing server-sent events: whole, joined where they are ready together, and a sign of life in between."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from headgate_gateway.chat.chunks import KEEP_ALIVE

# Of the 1,200 bytes of one write (CHAT-16) the chunk's own framing takes up to 10.
MAX_WRITE = 1190
# What the reply's headers may take of the first write.
_HEADERS = 700


class EventWriter:
    """Sends events of one reply. `send(data, more)` makes one write; `idle` is the silence in seconds after which a
    comment goes out."""

    __slots__ = ("_comment", "_last", "_loop", "_send", "_sending", "_since_turn", "_timer", "idle")

    def __init__(self, send: Callable[[bytes, bool], Awaitable[None]], idle: float) -> None:
        self.idle = idle
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._since_turn = _HEADERS
        self._sending = False
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(idle, self._tick)

    async def write(self, events: Sequence[bytes]) -> None:
        """Send events that are ready together, as few writes as fit."""
        joined = b""
        for event in events:
            if joined and len(joined) + len(event) > MAX_WRITE:
                await self._put(joined)
                joined = b""
            joined = joined + event if joined else event
        if joined:
            await self._put(joined)

    async def finish(self, events: Sequence[bytes]) -> None:
        """Send the last events and end the reply."""
        await self.write(events)
        await self._send(b"", False)

    def close(self) -> None:
        """Stop the sign of life."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    async def _put(self, data: bytes) -> None:
        if self._since_turn + len(data) > MAX_WRITE:
            # The event loop joins what is written within one turn into one write to the socket.
            await asyncio.sleep(0)
            self._since_turn = 0
        self._since_turn += len(data)
        self._sending = True
        await self._send(data, True)
        self._sending = False
        self._last = self._loop.time()

    def _tick(self) -> None:
        due = self._last + self.idle - self._loop.time()
        # A write that has not returned waits for a slow client: a comment would only wait behind it.
        if due <= 0 and not self._sending:
            self._comment = self._loop.create_task(self._put(KEEP_ALIVE))
        self._timer = self._loop.call_later(due if due > 0 else self.idle, self._tick)
