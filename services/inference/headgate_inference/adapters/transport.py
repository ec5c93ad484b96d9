"""How requests get to providers: one Protocol, and aiohttp behind it."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy, istr
from yarl import URL

_DRAIN_S = 1.0
_POOL_IDLE_S = 15.0
_SKIP = frozenset({istr("User-Agent"), istr("Accept"), istr("Accept-Encoding"), istr("Content-Type")})


class TransportError(Exception):
    """The exchange with a provider broke."""


class Unreachable(TransportError):
    """No connection could be made; nothing was sent."""


class Disconnected(TransportError):
    """The connection ended before the answer's headers."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests to one deployment go; made once when the catalogue changes. `connect_s` is seconds."""

    url: URL
    headers: CIMultiDictProxy[str]
    connect_s: float

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str], connect_s: float) -> "Target":
        """A target with its constant headers. Raises ValueError for what is not an http(s) URL."""
        parsed = URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError(f"{url!r} is not an http(s) URL")
        return cls(parsed, CIMultiDictProxy(CIMultiDict(headers)), connect_s)


class ProviderReply(Protocol):
    """An answer whose headers are there. Exactly one of `close` and `release` ends it."""

    @property
    def status(self) -> int:
        """HTTP status."""

    def header(self, name: str) -> str:
        """A header's value, or an empty string."""

    async def read(self) -> bytes:
        """What is ready of the body, empty at its end. Raises TransportError."""

    def close(self) -> None:
        """Drop the connection at once: the provider shall stop."""

    def release(self) -> None:
        """The body was read as far as it matters: keep the connection if it ends soon."""


class ProviderTransport(Protocol):
    """Sends requests to providers. Timers are the caller's, but for the connection's."""

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> ProviderReply:
        """Send and return when the answer's headers are there. Raises TransportError."""

    async def close(self) -> None:
        """Close every connection."""


class AiohttpTransport:
    """One session: keep-alive, no redirects, no proxies or credentials from the environment."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._drains: set[asyncio.Task[None]] = set()

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> ProviderReply:
        """Send and return when the answer's headers are there. Raises TransportError."""
        merged = CIMultiDict(target.headers)
        merged.update(headers)
        try:
            reply = await self._opened().post(
                target.url,
                data=body,
                headers=merged,
                allow_redirects=False,
                timeout=_timeout(target.connect_s),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as fault:
            raise Unreachable from fault
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as fault:
            raise Disconnected from fault
        except (aiohttp.ClientError, ValueError) as fault:
            raise TransportError from fault
        return _AiohttpReply(reply, self._drains)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:  # the connector belongs to the running loop
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_POOL_IDLE_S, family=socket.AF_UNSPEC, ttl_dns_cache=10
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_SKIP,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        for task in tuple(self._drains):
            task.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None


class _AiohttpReply:
    __slots__ = ("_drains", "_reply", "status")

    def __init__(self, reply: aiohttp.ClientResponse, drains: set[asyncio.Task[None]]) -> None:
        self.status = reply.status
        self._reply = reply
        self._drains = drains

    def header(self, name: str) -> str:
        return self._reply.headers.get(name, "")

    async def read(self) -> bytes:
        content = self._reply.content
        try:
            # An empty piece is not the end: a provider may flush a compressor that holds nothing.
            while not (data := await content.readany()) and not content.at_eof():
                pass
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError) as fault:
            raise TransportError from fault
        return data

    def close(self) -> None:
        self._reply.close()

    def release(self) -> None:
        if self._reply.content.is_eof():  # the connection went back to the pool by itself
            return
        # The end of the body usually comes a moment after what matters; waiting for it in the call would add
        # that moment to every stream, and not waiting would cost the connection.
        task = asyncio.get_running_loop().create_task(self._drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._reply.content.wait_eof()
        except (TimeoutError, aiohttp.ClientError):
            pass
        finally:
            self._reply.close()


@cache
def _timeout(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
