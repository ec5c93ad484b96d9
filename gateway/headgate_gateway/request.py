"""A request of our own listener: what has come of it, and the reply it gets. A whole reply is one write."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from headgate_gateway.flow import Flow
from headgate_gateway.reply_head import head_of
from headgate_gateway.wire import ClientGone
from headgate_rpc.errors import HeadgateError

# So much of a body may lie here unread (bytes).
HIGH_WATER = 64 * 1024

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Line(Protocol):
    """The connection, as a request needs it."""

    flow: Flow

    def reply_ended(self) -> None:
        """The reply has left."""


class Request:
    """See `wire.Wire`. `expects` says that the client waits for a word before it sends its body, `keep_alive` that
    another request may follow."""

    __slots__ = (
        "_flow", "_line", "_more", "_unread", "_waiting", "client_address", "ended", "expects", "fields", "gone",
        "keep_alive", "method", "path", "query", "refusal", "started",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        client_address: str,
        method: str,
        target: tuple[str, bytes],
        fields: Mapping[bytes, bytes],
    ) -> None:
        self._line = line
        self._flow = line.flow
        self.client_address = client_address
        self.method = method
        self.path, self.query = target
        self.fields = fields
        self.refusal: HeadgateError | None = None
        self.expects = b"expect" in fields and fields[b"expect"].lower() == b"100-continue"
        self.keep_alive = True
        self.started = self.ended = self.gone = False
        self._unread = b""
        self._more = True
        self._waiting: asyncio.Future[None] | None = None

    # From the connection.

    def feed(self, data: bytes) -> None:
        """A piece of the body has come."""
        if self.ended:
            return
        self._unread += data
        if len(self._unread) > HIGH_WATER:
            self._flow.pause_reading()
        if self._waiting is not None:
            self._wake()

    def feed_end(self) -> None:
        """The body is whole."""
        self._more = False
        if self._waiting is not None:
            self._wake()

    def abandon(self) -> None:
        """The client has gone."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # From the gateway.

    async def read(self) -> tuple[bytes, bool]:
        """See Wire."""
        if self.expects:
            self.expects = False
            self._flow.transport.write(_GO_ON)
        self._flow.resume_reading()
        if self._more and not self._unread and not self.gone:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self.gone:
            raise ClientGone
        piece, self._unread = self._unread, b""
        return piece, self._more

    async def reply(self, status: int, fields: dict[str, str], body: bytes) -> None:
        """See Wire."""
        if self._flow.writable is not None:
            await self._room()
        if not self.gone:
            fields["content-length"] = str(len(body))
            head = self._head(status, fields)
            self._flow.transport.write(head if self.method == "HEAD" else head + body)
            self._end()

    async def open(self, status: int, fields: dict[str, str]) -> None:
        """See Wire."""
        if self._flow.writable is not None:
            await self._room()
        if not self.gone:
            fields["transfer-encoding"] = "chunked"
            self._flow.transport.write(self._head(status, fields))

    async def piece(self, data: bytes, more: bool) -> None:
        """See Wire."""
        if self._flow.writable is not None:
            await self._room()
        if self.gone:
            return
        if not self.started or self.ended:
            raise RuntimeError("no reply is open")
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._flow.transport.write(chunk if more else chunk + b"0\r\n\r\n")
        if not more:
            self._end()

    async def _room(self) -> None:
        if self._flow.writable is not None and not self.gone:
            await self._flow.writable.wait()

    def _head(self, status: int, fields: dict[str, str]) -> bytes:
        if self.started:
            raise RuntimeError("the reply has been started")
        if "connection" in fields:
            self.keep_alive = False
        elif not self.keep_alive:
            fields["connection"] = "close"
        head = head_of(status, fields)
        self.started = True
        self.expects = False
        return head

    def _end(self) -> None:
        self.ended = True
        if not self.keep_alive:
            self._flow.transport.close()
        self._line.reply_ended()
