"""HTTP/1.1 on one connection: llhttp parses, requests run one after the other, and a client may take only so long
(decisions.md 32)."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import unquote

import httptools
import structlog

from headgate_gateway.flow import Flow
from headgate_gateway.limits import MAX_IGNORED_BYTES, NOT_HTTP, TOO_SLOW, UPGRADE, Limits, Phase
from headgate_gateway.patience import Patience
from headgate_gateway.request import Request
from headgate_gateway.strict_json import malformed
from headgate_gateway.wire import Wire, joined

log = structlog.get_logger()

# By its class a member of an enumeration is found slowly, several times in a request.
_BEGIN, _HEAD, _BODY = Phase

Serve = Callable[[Wire], Coroutine[None, None, None]]
Refuse = Callable[[str, str], bytes]


@dataclass(slots=True)
class Opened:
    """What a listener has open."""

    connections: "set[Connection]" = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Connection(asyncio.Protocol):
    """One connection. `serve` answers a request; `refuse(message, address)` makes the bytes of a reply to what is no
    request."""

    def __init__(self, serve: Serve, refuse: Refuse, limits: Limits, opened: Opened) -> None:
        self._serve = serve
        self._refuse = refuse
        self._limits = limits
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        # What follows the last request is not looked at, rather than be a fault that costs its reply.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._phase = _BEGIN
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._head_bytes = 0
        self._ignored_bytes = 0
        self._broken = False
        self._newest: Request | None = None
        self._running: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._bell: asyncio.Future[None] | None = None
        self._waiting: deque[Request] = deque()
        self._patience = Patience(self._loop, limits.idle_timeout, self._late, self._close)

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.flow = Flow(self._transport, self._limits.write_timeout)
        peer = transport.get_extra_info("peername")
        self._address: str = peer[0] if isinstance(peer, tuple) else ""
        self._opened.connections.add(self)
        self._limits.set_on(transport.get_extra_info("socket"))
        self._patience.expect(self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.connections.discard(self)
        self._patience.end()
        self._waiting.clear()
        self._abandon()
        self._ring()
        self.flow.resume_writing()
        del self._parser, self._patience  # both lead back here: the collector would have to come for them

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._patience.busy()
        if self._broken:
            return
        headers, phase = self._headers, self._phase
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The parser reads no further, whatever the client meant by it: this reply is the last.
            self._broken = True
            self._close_after_newest()
            self._patience.expect_nothing()
        except httptools.HttpParserError:
            self._break(NOT_HTTP)
        else:
            self._watch(len(data) if headers is self._headers and phase is self._phase else 0)

    # From the parser.

    def on_message_begin(self) -> None:
        self._phase = _HEAD
        self._url = b""
        self._headers = []
        self._size = 0
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._size += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        parser = self._parser
        version, method = parser.get_http_version(), parser.get_method()
        fields = joined(self._headers)
        fault = self._limits.fault_of_head(self._size, self._headers, fields, version)
        if parser.should_upgrade() and method not in (b"GET", b"HEAD"):
            fault = UPGRADE  # the parser would take the body for the other protocol
        request = Request(self, self._address, method.decode(), _target(self._url), {} if fault else fields)
        request.keep_alive = version != "1.0" and parser.should_keep_alive()
        if fault:
            request.refusal = malformed(fault)
        self._phase = _BODY
        self._head_bytes = 0
        self._newest = request
        if self._is_free():
            self._start(request)
        else:
            self.flow.pause_reading()
            self._waiting.append(request)

    def on_body(self, data: bytes) -> None:
        if self._newest is not None:
            self._newest.feed(data)

    def on_message_complete(self) -> None:
        self._phase = _BEGIN
        if self._newest is not None:
            self._newest.feed_end()

    # Requests, one after the other.

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return not self._is_free()

    def _is_free(self) -> bool:
        return self._running is None or self._running.ended

    def _start(self, request: Request) -> None:
        self._running = request
        if self._task is None:
            self._task = task = self._loop.create_task(self._serve_all())
            self._opened.tasks.add(task)
            task.add_done_callback(self._opened.tasks.discard)
        else:
            self._ring()

    async def _serve_all(self) -> None:
        """Serve what runs, and wait for the next. One task for all requests of a connection: a new one for each costs
        more than the wait."""
        served: Request | None = None
        try:
            while (request := self._running) is not served and request is not None:
                await self._serve(request)
                served = request
                if self._running is request and not self._transport.is_closing() and request.ended:
                    self._bell = self._loop.create_future()
                    await self._bell
        except Exception as fault:
            log.error("unhandled fault of the listener", exc_info=fault)
        finally:
            self._transport.close()  # after half a reply, or none, nothing that follows would be understood

    def _ring(self) -> None:
        """Let the task look whether there is a request. While it still has one, it looks by itself."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def reply_ended(self) -> None:
        """For the running request: the next one may run."""
        if self._transport.is_closing():
            return
        self.flow.resume_reading()
        if self._waiting:
            self._start(self._waiting.popleft())
        else:
            self._patience.idle()

    def _close_after_newest(self) -> None:
        if self._newest is not None:
            self._newest.keep_alive = False

    def shut_down(self) -> None:
        """Take no more requests; those that are here get their replies."""
        if self._newest is None or self._newest.ended:
            self._transport.close()
        else:
            self._newest.keep_alive = False

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _abandon(self) -> None:
        running = self._running
        if running is not None and self._task is not None and not running.ended and not running.gone:
            running.abandon()
            # Not at once: the task may not have begun, and every request leaves a record.
            self._loop.call_soon(self._task.cancel)

    def _close(self) -> None:
        self._transport.close()

    def _break(self, message: str) -> None:
        """Read no more. A request that is whole keeps its reply; one that broke off gets this one instead."""
        self._broken = True
        self._patience.expect_nothing()
        whole, newest = self._phase is not _BODY, self._newest
        if whole and newest is not None and not newest.ended:
            newest.keep_alive = False
            return
        if not self._waiting and (whole or newest is None or not newest.started):
            self._transport.write(self._refuse(message, self._address))
        self._transport.close()
        self._abandon()

    # How long a client may take.

    def _watch(self, size: int) -> None:
        """Time what is due next; count what has come of a head, or of a body that nobody waits for."""
        phase = self._phase
        if phase is _BODY:
            self._patience.expect(self._limits.body_timeout)
            self._ignored_bytes += size if self._newest is None or self._newest.ended else 0
            if self._ignored_bytes > MAX_IGNORED_BYTES:
                self._transport.abort()
        elif phase is _HEAD or self._is_free():
            self._head_bytes += size
            if self._head_bytes > self._limits.header_bytes:
                self._break(self._limits.headers_too_large)
            elif not self._patience.expects:
                self._patience.expect(self._limits.header_timeout)
        elif self._patience.expects:
            self._patience.expect_nothing()

    def _late(self) -> None:
        if self._phase is _BODY and not self.flow.reading:
            self._patience.expect(self._limits.body_timeout)
        elif self._phase is _BEGIN and not self._head_bytes:
            self._transport.close()
        else:
            self._break(TOO_SLOW)


@lru_cache(64)
def _target(url: bytes) -> tuple[str, bytes]:
    """Path, decoded, and query of a request target. What it raises is no request to the parser."""
    parsed = httptools.parse_url(url)
    if parsed.path is None:
        raise ValueError("a request target without a path")
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.query or b""
