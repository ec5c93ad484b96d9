"""uvicorn's HTTP/1.1 protocol with the limits it lacks (decisions.md 32), and word when the client goes."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from headgate_gateway.dispatch import REFUSAL
from headgate_gateway.exchange import DISCONNECT_CALLBACK
from headgate_gateway.limits import MAX_IGNORED_BYTES, NOT_HTTP, TOO_SLOW, UPGRADE, Limits, Phase
from headgate_gateway.reply import Reply
from headgate_gateway.strict_json import malformed

Refuse = Callable[[str, str], bytes]


class GatewayProtocol(HttpToolsProtocol):
    """One connection. `refuse(message, address)` makes the bytes of a reply to what is no request."""

    def __init__(self, config: Config, state: ServerState, limits: Limits, refuse: Refuse) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._limits = limits
        self._refusal = refuse
        self._phase = Phase.BEGIN
        self._head_bytes = 0
        self._ignored_bytes = 0
        self._broken = False
        self._running: RequestResponseCycle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._limits.set_on(transport.get_extra_info("socket"))
        self._set_read_timer(self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_read_timer(None)
        self.resume_writing()
        self.pipeline.clear()
        super().connection_lost(exc)
        self._abandon(self._running)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._broken:
            return
        due = (self.scope, self._phase)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The parser reads no further, whatever the client meant by it: this reply is the last.
            self._broken = True
            self.cycle.keep_alive = False
            self._set_read_timer(None)
        except httptools.HttpParserError:
            self._break(NOT_HTTP)
        else:
            self._watch(len(data) if due[0] is self.scope and due[1] is self._phase else 0)

    def _watch(self, size: int) -> None:
        """Time what is due next; count what has come of a head, or of a body that nobody waits for."""
        if self._phase is Phase.BODY:
            self._set_read_timer(self._limits.body_timeout)
            self._ignored_bytes += size if self.cycle.response_complete else 0
            if self._ignored_bytes > MAX_IGNORED_BYTES:
                self.transport.abort()
        elif self._phase is Phase.HEAD or self._running is None or self._running.response_complete:
            self._head_bytes += size
            if self._head_bytes > self._limits.header_bytes:
                self._break(self._limits.headers_too_large)
            elif self._read_timer is None:
                self._set_read_timer(self._limits.header_timeout)
        else:
            self._set_read_timer(None)

    def on_message_begin(self) -> None:
        self._phase = Phase.HEAD
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        fault = self._limits.fault_of_head(self.url, self.headers, self.parser.get_http_version())
        if self.parser.should_upgrade() and self.parser.get_method() not in (b"GET", b"HEAD"):
            fault = UPGRADE  # the parser would take the body for the other protocol
        if fault:
            self.scope[REFUSAL] = malformed(fault)  # type: ignore[literal-required]
        super().on_headers_complete()
        self._phase = Phase.BODY
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        self._phase = Phase.BEGIN
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, lambda scope, receive, _: app(scope, receive, Reply(cycle).send))

    def _break(self, message: str) -> None:
        """Read no more. A request that is whole keeps its reply; one that broke off gets this one instead."""
        self._broken = True
        self._set_read_timer(None)
        whole = self._phase is not Phase.BODY
        if whole and self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        if not self.pipeline and (whole or not self.cycle.response_started):
            self.transport.write(self._refusal(message, self.client[0] if self.client else ""))
        self.transport.close()
        self._abandon(self._running)

    def _abandon(self, cycle: RequestResponseCycle | None) -> None:
        if cycle is None or cycle.response_complete:
            return
        cycle.disconnected = True
        cycle.message_event.set()
        gone = cast(Callable[[], None] | None, cycle.scope.pop(DISCONNECT_CALLBACK, None))  # type: ignore[misc]
        if gone is not None:
            gone()

    def _set_read_timer(self, seconds: float | None) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._read_timer = None if seconds is None else self.loop.call_later(seconds, self._read_late)

    def _read_late(self) -> None:
        self._read_timer = None
        if self._phase is Phase.BODY and self.flow.read_paused:
            self._set_read_timer(self._limits.body_timeout)
        elif self._phase is Phase.BEGIN and not self._head_bytes:
            self.transport.close()
        else:
            self._break(TOO_SLOW)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()
