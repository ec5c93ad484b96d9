"""Writes a reply to its connection in the place of uvicorn's own cycle: a whole reply is one write, and the fields of
its head are checked together. At full load that is a tenth of what the gateway costs."""

from collections.abc import Sequence
from functools import lru_cache

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE, RequestResponseCycle

# Of these only a tab may be in a value (RFC 9110 section 5.5).
_CONTROLS = bytes({*range(32), 127} - {9})


class Reply:
    """The reply to one request. Its head goes out with the body when the length is known, else at once, followed by
    chunks."""

    __slots__ = ("_cycle", "_head", "_length")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._head = b""
        self._length: int | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """ASGI's `send`. Raises RuntimeError for what would break the protocol."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if message["type"] == "http.response.start" and not cycle.response_started:
            self._start(message["status"], list(message.get("headers", ())))
        elif (
            message["type"] == "http.response.body" and cycle.response_started and not cycle.response_complete
        ):
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']!r} is out of order")

    def _start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        cycle = self._cycle
        head = head_of(status, headers)
        fields = dict(headers)
        if b"connection" in fields:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            head += b"connection: close\r\n"
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        length = fields.get(b"content-length")
        if length is None:
            cycle.transport.write(head + b"transfer-encoding: chunked\r\n\r\n")
        else:
            self._length = int(length)
            self._head = head + b"\r\n"

    def _continue(self, body: bytes, *, more: bool) -> None:
        cycle = self._cycle
        if self._length is None:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            cycle.transport.write(chunk if more else chunk + b"0\r\n\r\n")
        elif more or len(body) != self._length:
            raise RuntimeError("the body is not as long as was announced")
        else:
            cycle.transport.write(self._head if cycle.scope["method"] == "HEAD" else self._head + body)
        if not more:
            self._end()

    def _end(self) -> None:
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


def head_of(status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Status line and fields, without the empty line. Raises RuntimeError for a field that would be more than one."""
    names = tuple([name for name, _ in headers])
    head = _template(status, names) % tuple([value for _, value in headers])
    if len(head.translate(None, _CONTROLS)) != len(head) - 2 * (1 + len(names)):
        raise RuntimeError("a header has a control character")
    return head


@lru_cache(256)
def _template(status: int, names: tuple[bytes, ...]) -> bytes:
    """The head of all replies with these fields, values left out: there are few different ones."""
    for name in names:
        if not name or HEADER_RE.search(name):
            raise RuntimeError(f"{name!r} is not the name of a header")
    return STATUS_LINE[status] + b"".join(b"%b: %%b\r\n" % name.replace(b"%", b"%%") for name in names)
