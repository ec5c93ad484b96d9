"""How one part of the suite calls another: the same few lines in one process and over the wire."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

from headgate_rpc.call import Method
from headgate_rpc.origin import Origin

M_co = TypeVar("M_co", bound=Message, covariant=True)


_NOTHING: Mapping[str, str] = MappingProxyType({})


class Options(Struct, frozen=True):
    """What goes with a request: metadata (lower-case keys), the time it may take, in seconds, and, from the edge of
    the suite, where the call began."""

    metadata: Mapping[str, str] = _NOTHING
    timeout: float | None = None
    origin: Origin | None = None

    def wire_metadata(self) -> Mapping[str, str]:
        """All of it as metadata, for a call that leaves the process."""
        return self.metadata if self.origin is None else {**self.metadata, **self.origin.metadata()}


NO_OPTIONS = Options()


class Reply(Struct, Generic[M_co], frozen=True):
    """One reply with its initial and trailing metadata, merged."""

    message: M_co
    metadata: Mapping[str, str]


class StreamReply(Protocol[M_co]):
    """A stream of replies. Whoever opened it must exhaust it or close it; closing cancels the call."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Initial metadata."""

    def __aiter__(self) -> AsyncIterator[M_co]: ...

    async def aclose(self) -> None:
        """Cancel the call, wherever it is. Idempotent."""


class Channel(Protocol):
    """A way to a service. All faults come as HeadgateError with the reply metadata in `.metadata`."""

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """Call a method that has one reply."""

    async def stream(
        self, method: Method, request: Message, options: Options = NO_OPTIONS
    ) -> StreamReply[Message]:
        """Call a method that streams; returns when the initial metadata is there, which is with the first
        reply at the latest. A fault before that is raised here."""
