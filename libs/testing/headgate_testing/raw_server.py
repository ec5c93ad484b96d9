"""An HTTP server by hand: answers with exactly the bytes a test wants, and tells when the client hung up."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


class RawPeer:
    """One client's connection, numbered from 0."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.writer = writer
        self._reader = reader

    async def request(self) -> bytes:
        """The next request as it came, empty when the client has hung up."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            return head + await self._reader.readexactly(int(length[1]) if length else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def send(self, *pieces: bytes) -> None:
        """Send bytes as they are, each piece on its own, as soon as the client takes them."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Return when the client has hung up."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            return

    def close(self) -> None:
        """End the connection in order."""
        self.writer.close()

    def reset(self) -> None:
        """End it without."""
        self.writer.transport.abort()


Handle = Callable[[RawPeer], Awaitable[None]]


class RawServer:
    """Calls `handle` for every connection and closes the connection when it returns; an async context manager.
    `faults` are what handlers raised."""

    def __init__(self, handle: Handle, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self.faults: list[BaseException] = []
        self._handle = handle
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return int(self._server.sockets[0].getsockname()[1])

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = RawPeer(self.connections, reader, writer)
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: RawPeer) -> None:
        try:
            await self._handle(peer)
        except ConnectionError:
            pass
        except Exception as fault:
            self.faults.append(fault)
            raise
        finally:
            peer.writer.close()
