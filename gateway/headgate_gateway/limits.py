"""How much, and how slowly, a client may send."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

# What a client may go on sending after its request was answered, before it is cut off.
MAX_IGNORED_BYTES = 64 * 1024 * 1024

NOT_HTTP = "The request is not valid HTTP/1.1."
TOO_SLOW = "The request did not arrive in time."
UPGRADE = "Protocol upgrades are not offered."


class Phase(Enum):
    """What of a request is due next."""

    BEGIN = auto()
    HEAD = auto()
    BODY = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    header_bytes: int
    header_fields: int
    header_timeout: float
    body_timeout: float
    write_timeout: float
    idle_timeout: float

    @property
    def headers_too_large(self) -> str:
        """The words for headers of more than `header_bytes`."""
        return f"The headers are larger than {self.header_bytes} bytes."

    def fault_of_head(
        self,
        size: int,
        headers: Sequence[tuple[bytes, bytes]],
        fields: Mapping[bytes, bytes],
        http_version: str,
    ) -> str:
        """What is wrong with a request's head of `size` bytes, empty when nothing is. `fields` are the `headers`,
        joined."""
        if size > self.header_bytes:
            return self.headers_too_large
        if len(headers) > self.header_fields:
            return f"There are more than {self.header_fields} header fields."
        if http_version not in ("1.0", "1.1"):
            return NOT_HTTP
        repeated = len(fields) < len(headers)
        hosts = sum(name == b"host" for name, _ in headers) if repeated else b"host" in fields
        if hosts > 1 or (not hosts and http_version == "1.1"):
            return "The request must have exactly one Host header."
        return ""

    def set_on(self, connection: socket.socket | None) -> None:
        """Options of an accepted connection: small writes go at once, and a peer that acknowledges nothing is cut
        even when what waits for it is too little to pause the transport."""
        if connection is not None and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.write_timeout * 1000))
