"""Connections to providers, kept for the next request."""

import asyncio
import ssl
from functools import cached_property

from headgate_clock import Clock
from headgate_inference.adapters.http_connection import HttpConnection
from headgate_inference.adapters.http_request import Origin
from headgate_inference.adapters.transport import Late, Unreachable

_CLOSING_S = 1.0


class HttpPool:
    """Idle connections by origin, the freshest used first. `idle_s` is seconds a connection may lie idle, at most
    `most_idle` for each origin; `tls` is used instead of `tls_context()`."""

    def __init__(self, clock: Clock, *, idle_s: float, most_idle: int, tls: ssl.SSLContext | None) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._most_idle = most_idle
        self._given_tls = tls
        self._idle: dict[Origin, dict[HttpConnection, float]] = {}
        self._open: set[HttpConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, origin: Origin) -> HttpConnection | None:
        """An idle connection, None when there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection, since = idle.popitem()
            if connection.usable and self._clock.monotonic() - since < self._idle_s:
                return connection
            connection.abort()
        return None

    async def connect(self, origin: Origin, timeout: float, due: float | None = None) -> HttpConnection:
        """A new connection, its TLS handshake done, within `timeout` seconds and before `due` on the loop's clock.
        Raises Unreachable, Late."""
        loop = asyncio.get_running_loop()
        timeout = timeout if due is None else min(timeout, max(0.0, due - loop.time()))
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(self, origin),
                    origin.host,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                )
        except (OSError, ValueError) as fault:  # ValueError: a name that cannot be looked up
            if due is not None and loop.time() >= due:
                raise Late("no connection before the answer was due") from fault
            raise Unreachable(str(fault)) from fault
        if connection.usable:  # the server may have closed it at once
            self._open.add(connection)
        return connection

    async def close(self) -> None:
        """Close every connection, in use or not."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        closing = [connection.lost for connection in self._open]
        for connection in tuple(self._open):
            connection.abort()
        if closing:
            await asyncio.wait(closing, timeout=_CLOSING_S)

    def free(self, connection: HttpConnection) -> None:
        """For connections: keep it, if there is room."""
        idle = self._idle.setdefault(connection.origin, {})
        if len(idle) >= self._most_idle:
            connection.abort()
            return
        idle[connection] = self._clock.monotonic()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_s, self._close_idle)

    def spent(self, connection: HttpConnection) -> None:
        """For connections: forget it."""
        self._open.discard(connection)
        self._idle.get(connection.origin, {}).pop(connection, None)

    def _close_idle(self) -> None:
        """Close what has been idle too long, and come back while anything is idle."""
        self._sweep = None
        latest = self._clock.monotonic() - self._idle_s
        for idle in self._idle.values():
            for connection in [each for each, since in idle.items() if since <= latest]:
                connection.abort()
        self._idle = {origin: idle for origin, idle in self._idle.items() if idle}
        if self._idle:
            self._sweep = asyncio.get_running_loop().call_later(self._idle_s, self._close_idle)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made late: reading the system's authorities takes tens of milliseconds."""
        return self._given_tls or tls_context()


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Certificates and host names are checked, against the PEM file `authorities` or else the system's; HTTP/1.1 is
    all that is offered."""
    context = ssl.create_default_context(cafile=authorities)
    context.set_alpn_protocols(["http/1.1"])
    return context
