"""The two directions of a connection: when to take no more from a client, and when it takes no more from us."""

import asyncio


class Flow:
    """Pauses and resumes. `writable` is None while there is room; a client that makes none for `write_timeout`
    seconds is cut."""

    __slots__ = ("_timer", "_write_timeout", "reading", "transport", "writable")

    def __init__(self, transport: asyncio.Transport, write_timeout: float) -> None:
        self.transport = transport
        self.reading = True
        self.writable: asyncio.Event | None = None
        self._write_timeout = write_timeout
        self._timer: asyncio.TimerHandle | None = None

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        if self.reading:
            self.reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking."""
        if not self.reading:
            self.reading = True
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The transport holds as much as it will."""
        if self.writable is None:
            self.writable = asyncio.Event()
            self._timer = asyncio.get_running_loop().call_later(self._write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """There is room again, or nobody left to write to."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.writable is not None:
            self.writable.set()
            self.writable = None
