"""One HTTP/1.1 connection to a provider: one exchange at a time, parsed by llhttp."""

import asyncio
import socket
from typing import Protocol, cast

import httptools

from headgate_inference.adapters.http_reply import HttpReply
from headgate_inference.adapters.http_request import Origin
from headgate_inference.adapters.transport import Disconnected, Late, TransportError

_MOST_BUFFERED = 256 * 1024
# Of a head, and of what may stand between two pieces of a body: chunk extensions, trailers.
_MOST_OVERHEAD = 64 * 1024


class Owner(Protocol):
    """What a connection tells the pool it belongs to."""

    def free(self, connection: "HttpConnection") -> None:
        """Its exchange is complete, and it can be used again."""

    def spent(self, connection: "HttpConnection") -> None:
        """It must not be used again. May be told more than once."""


class HttpConnection(asyncio.Protocol):
    """Made by `loop.create_connection`. `heard` tells whether anything of the last answer has come; `lost` is done
    when the socket is closed."""

    def __init__(self, owner: Owner, origin: Origin) -> None:
        self.origin = origin
        self.heard = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._over = False
        self._paused = False
        self._reply: HttpReply | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._overhead = 0
        self._keep_alive = False
        self._complete = False
        self._parser = httptools.HttpResponseParser(self)
        # As every other client does: some providers end lines with LF alone, or pad chunk sizes.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        return not self._over and not self._transport.is_closing()

    async def exchange(self, request: bytes, due: float | None = None) -> HttpReply:
        """Send and return when the answer's head is there. Raises TransportError, Late when the answer is `due` on
        the loop's clock and not complete. Closes the connection when it is cancelled."""
        self.heard = False
        if self._over or self._transport.is_closing():
            raise Disconnected("the connection was closed before the request")
        reply = self._reply = HttpReply(self, due)
        if due is not None:
            self._watch(due)
        self._pieces = reply.pieces
        self._overhead = 0
        self._complete = False
        self._transport.write(request)
        try:
            while not reply.status:
                await reply.more()
        except asyncio.CancelledError:
            reply.close()
            raise
        return reply

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once; an answer that is not complete ends with TransportError."""
        self._break(TransportError("the connection was closed by this side"))

    def _watch(self, due: float) -> None:
        """One timer for many exchanges: it fires early and looks again, which costs less than one for each."""
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        due = None if self._reply is None else self._reply.due
        if due is None:
            return
        if asyncio.get_running_loop().time() < due:
            self._watch(due)
        else:
            self._break(Late("the answer was not complete when it was due"))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            self.abort()  # nothing was asked: whatever this is, the next answer would be mistaken
            return
        self.heard = True
        reply.buffered += len(data)
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self._keep_alive = False
            if not self._complete:
                self._break(TransportError(f"the provider does not speak HTTP/1.1: {fault}"))
                return
        if self._complete:
            self._finish(reply)
            return
        if self._overhead > _MOST_OVERHEAD:
            self._break(TransportError("the answer's head, or what stands between its pieces, is too large"))
        elif reply.buffered > _MOST_BUFFERED and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        reply.wake()

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self.lost.set_result(None)

    # What the parser finds

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second answer to one request")
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        reply = self._reply
        if reply is None or reply.status:
            return  # a trailer
        name = name.lower()
        if name in self._headers:
            value = self._headers[name] + b", " + value
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers = self._headers
        if self._overhead > _MOST_OVERHEAD and _size(headers) > _MOST_OVERHEAD:
            raise ValueError("the head is too large")
        if status == 101 or status < 100:
            raise ValueError("an answer to a request that was not made")
        if status < 200 or self._reply is None:
            return
        if headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            raise ValueError("unknown transfer coding")
        self._keep_alive = self._parser.should_keep_alive()
        self._reply.open(status, headers)

    def on_body(self, data: bytes) -> None:
        self._overhead = 0
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._complete = self._reply is not None and self._reply.status > 0

    # How an exchange ends

    def _finish(self, reply: HttpReply) -> None:
        self._reply = None
        reply.end(None)
        # A server that answers before it has read everything may never read the rest.
        transport = self._transport
        if self._keep_alive and not transport.is_closing() and not transport.get_write_buffer_size():
            self.resume()
            self._owner.free(self)
        else:
            self._discard()

    def _ended(self, exc: Exception | None) -> None:
        """The server sends no more."""
        reply = self._reply
        if reply is None:
            self._discard()
        elif not reply.status:
            self._break(Disconnected("the connection ended before an answer"))
        elif exc is None and self._delimited_by_close():
            self._keep_alive = False
            self._finish(reply)
        else:
            length = self._headers.get(b"content-length", b"?").decode("latin-1")
            self._break(
                TransportError(f"the connection ended after {reply.body_bytes} of {length} body bytes")
            )

    def _delimited_by_close(self) -> bool:
        return self._headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))

    def _break(self, fault: TransportError) -> None:
        reply, self._reply = self._reply, None
        self._discard()
        if reply is not None:
            reply.end(fault)

    def _discard(self) -> None:
        if not self._over:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._owner.spent(self)
            self._transport.abort()


def _size(headers: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())
