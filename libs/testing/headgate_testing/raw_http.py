"""HTTP/1.1 by hand: sends exactly the bytes a test wants and reads replies as they came, chunk by chunk."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RawReply:
    """One response; header names are lower case, `chunks` holds the pieces of a chunked body."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunks: list[bytes] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        tree = json.loads(self.body)
        if not isinstance(tree, dict):
            raise TypeError("not a JSON object")
        return tree


class RawConnection:
    """One connection to a server on loopback. Reads give up after `patience` seconds with TimeoutError."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float = 10
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._patience = patience

    @classmethod
    async def open(cls, port: int, patience: float = 10) -> "RawConnection":
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port), patience)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are. A server that has hung up is no fault."""
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    @property
    def lost(self) -> bool:
        """Whether the server has hung up, as far as this side knows."""
        return self._reader.at_eof() or self._writer.transport.is_closing()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next response."""
        async with asyncio.timeout(self._patience):
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = text.split("\r\n")[:-2]
        pairs = (line.partition(": ") for line in lines)
        return int(start.split(" ")[1]), {name.lower(): value for name, _, value in pairs}

    async def chunk(self) -> bytes:
        """The next piece of a chunked body, empty at its end."""
        async with asyncio.timeout(self._patience):
            size = int(await self._reader.readline(), 16)
            data = await self._reader.readexactly(size + 2)
        return data[:-2]

    async def reply(self) -> RawReply:
        """The next whole response."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            chunks = [chunk async for chunk in self]
            return RawReply(status, headers, b"".join(chunks), chunks)
        return RawReply(status, headers, await self.body(headers))

    async def body(self, headers: Mapping[str, str]) -> bytes:
        """The body that these headers announce with its length."""
        async with asyncio.timeout(self._patience):
            return await self._reader.readexactly(int(headers.get("content-length", "0")))

    def __aiter__(self) -> "RawConnection":
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def closed(self) -> bytes:
        """What comes until the server hangs up; a reset ends it too."""
        async with asyncio.timeout(self._patience):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def hang_up(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def http_request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: str = "sk-hg-k1_test",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A well-formed request with a JSON body (none for an empty one) and a credential."""
    fields = {"Host": "test", "Authorization": f"Bearer {key}"}
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields |= headers or {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
