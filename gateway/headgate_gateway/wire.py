"""What the gateway needs of an HTTP request, and of the way back to its client."""

from collections.abc import Collection, Mapping
from typing import Protocol

from headgate_rpc.errors import HeadgateError


class ClientGone(Exception):
    """The client went away before its request was read."""


class Wire(Protocol):
    """One request and its one reply: `request.Request` of our own listener, `asgi.AsgiWire` of any other.

    `path` is decoded, `query` is not. `fields` are the header fields as `joined` gives them. `refusal` is set for a
    request whose head breaks a limit. `started` says that the head of a reply has been sent, `gone` that the client
    has left before its end; our own listener then cancels the task that answers.
    """

    method: str
    path: str
    query: bytes
    fields: Mapping[bytes, bytes]
    client_address: str
    refusal: HeadgateError | None
    started: bool
    gone: bool

    async def read(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether more will come. Raises ClientGone."""

    async def reply(self, status: int, fields: dict[str, str], body: bytes) -> None:
        """Send a whole reply; its length is added to `fields`, which are the wire's from now on. Nothing happens once
        the client has gone. Raises RuntimeError for a field that would be more than one, or when a reply has been
        started."""

    async def open(self, status: int, fields: dict[str, str]) -> None:
        """Send the head of a reply whose body follows in pieces. Raises as `reply`."""

    async def piece(self, data: bytes, more: bool) -> None:
        """Send a piece of the body of an opened reply. Raises RuntimeError when none is open."""


def joined(headers: Collection[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header fields by lower-case name. Repeated ones are joined by a comma (RFC 9110 section 5.3), so that two
    credentials are no credential."""
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields
    fields.clear()
    for name, value in headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields
