"""How requests get to providers: the Protocol that adapters speak to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

from headgate_inference.adapters.http_request import Origin, PostTemplate


class TransportError(Exception):
    """The exchange with a provider broke."""


class Unreachable(TransportError):
    """No connection could be made; nothing was sent."""


class Disconnected(TransportError):
    """The connection ended before the answer's headers."""


class Late(TransportError):
    """The answer was not there when it was due."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests to one deployment go; made once when the catalogue changes. `connect_s` is seconds."""

    url: URL
    connect_s: float
    origin: Origin
    template: PostTemplate

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str], connect_s: float) -> "Target":
        """A target with its constant headers. Raises ValueError for what is not an http(s) URL."""
        parsed = URL(url)
        return cls(
            url=parsed,
            connect_s=connect_s,
            origin=Origin.of(parsed),
            template=PostTemplate(parsed, headers),
        )


class ProviderReply(Protocol):
    """An answer whose headers are there. Exactly one of `close` and `release` ends it. `due` is when its end must be
    there, on the loop's clock; None: any time."""

    due: float | None

    @property
    def status(self) -> int:
        """HTTP status."""

    def header(self, name: str) -> str:
        """A header's value, or an empty string."""

    async def read(self) -> bytes:
        """What is ready of the body, empty at its end. Raises TransportError, Late when it is due."""

    def close(self) -> None:
        """Drop the connection at once: the provider shall stop."""

    def release(self) -> None:
        """The body was read as far as it matters: keep the connection if it ends soon."""


class ProviderTransport(Protocol):
    """Sends requests to providers."""

    async def post(
        self, target: Target, headers: Mapping[str, str], body: bytes, due: float | None = None
    ) -> ProviderReply:
        """Send and return when the answer's headers are there. Raises TransportError, Late when the answer is `due`
        on the loop's clock and not complete; whoever reads on without that limit sets `reply.due` to None."""

    async def close(self) -> None:
        """Close every connection."""
