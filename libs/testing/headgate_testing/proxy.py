"""A TCP proxy on loopback that a test puts before a service, PostgreSQL or Redis, to take it away: by silence
(connections stand, nothing comes through, new ones are taken and told nothing) or by refusal."""

import asyncio
from enum import Enum
from types import TracebackType
from typing import Self, cast

from headgate_testing.ports import free_port


class Mode(Enum):
    """What becomes of bytes and of connections."""

    PASS = "pass"  # noqa: S105 - not a password
    SWALLOW = "swallow"
    REFUSE = "refuse"


class Proxy:
    """Stands before `target` (`host:port`); an async context manager. `connections` counts those ever taken,
    `swallowed` bytes that went nowhere."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.address = f"127.0.0.1:{free_port()}"
        self.mode = Mode.PASS
        self.connections = 0
        self.swallowed = 0
        self._ends: set[_End] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def swallow(self) -> None:
        """From now on a black hole: nothing is answered, nothing is refused."""
        self.mode = Mode.SWALLOW

    def refuse(self) -> None:
        """From now on nobody is there: connections are reset, new ones refused."""
        self.mode = Mode.REFUSE
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset_all()

    async def heal(self) -> None:
        """Pass everything again. Connections of the time of silence are reset, since bytes of theirs are lost."""
        if self.mode is Mode.SWALLOW:
            self._reset_all()
        self.mode = Mode.PASS
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        host, _, port = self.address.rpartition(":")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _ClientEnd(self), host, int(port))

    def _reset_all(self) -> None:
        for end in tuple(self._ends):
            end.reset()

    def opened(self, end: "_End") -> None:
        """For connections: one more."""
        self._ends.add(end)

    def closed(self, end: "_End") -> None:
        """For connections: one less."""
        self._ends.discard(end)


class _End(asyncio.Protocol):
    """One side of a connection; what it reads goes to its peer."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.peer: _End | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._proxy.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._proxy.mode is Mode.SWALLOW:
            self._proxy.swallowed += len(data)
        elif self.peer is not None:
            self.peer.write(data)
        else:
            self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.closed(self)
        # In a black hole the other side does not even learn that this one has gone.
        if self.peer is not None and self._proxy.mode is not Mode.SWALLOW:
            self.peer.close()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.hold(still=True)

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.hold(still=False)

    def join(self, peer: "_End") -> None:
        """Give `peer` what has come so far, and all that comes."""
        self.peer = peer
        for data in self._early:
            peer.write(data)
        self._early.clear()

    def write(self, data: bytes) -> None:
        """Send on."""
        self._transport.write(data)

    def hold(self, *, still: bool) -> None:
        """Stop reading, or go on."""
        if self._transport.is_closing():
            return
        if still:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """End it in order."""
        self._transport.close()

    def reset(self) -> None:
        """End it without."""
        self._transport.abort()


class _ClientEnd(_End):
    """The side that a client has opened; opens the other one unless the proxy is a black hole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy.connections += 1
        if self._proxy.mode is Mode.PASS:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        host, port = self._proxy.target
        try:
            _, other = await asyncio.get_running_loop().create_connection(
                lambda: _End(self._proxy), host, port
            )
        except OSError:
            self.reset()
            return
        other.join(self)
        if self._transport.is_closing():
            other.close()
        else:
            self.join(other)
