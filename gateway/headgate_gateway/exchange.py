"""One HTTP request on its way to a reply: what of its headers goes on as call metadata, its body, its answer."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from headgate_clock import Clock, uuid7
from headgate_gateway.addresses import Network, client_address
from headgate_gateway.envelope import error_reply
from headgate_gateway.languages import choose_language
from headgate_gateway.strict_json import Tree, parse
from headgate_gateway.wire import Wire
from headgate_rpc.call import request_id_or_new
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason, cancelled
from headgate_rpc.origin import Origin
from headgate_telemetry.record import EdgeRecord
from headgate_telemetry.trace import continue_trace

API_VERSION = "1"
JSON = "application/json"

_PUBLIC = {"server": "headgate", "x-api-version": API_VERSION}
_PRIVATE = {**_PUBLIC, "vary": "Authorization"}
_PRIVATE_JSON = {**_PRIVATE, "content-type": JSON, "cache-control": "private, no-store"}
# Of a client's header fields, besides its ids, only these get behind the gateway.
_FORWARDED = (
    (b"authorization", "authorization"),
    (b"x-api-key", "x-api-key"),
    (b"x-cache-mode", "x-cache-mode"),
)
# Of a service's metadata these become header fields, and all that begins with `x-`.
_PASSED = frozenset({"retry-after", "allow", "connection", "www-authenticate", "content-language"})
# What a body in JSON usually says of itself.
_PLAIN_JSON = frozenset({b"application/json", b"application/json; charset=utf-8"})


EdgeObserver = Callable[[EdgeRecord], None]
"""Is told of every HTTP request once it has ended."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What is the same for all requests."""

    clock: Clock
    observer: EdgeObserver
    proxies: Sequence[Network] = ()
    languages: bool = False


class Exchange:
    """A request and the one reply it gets. `route` is the path's template, empty until it is known."""

    __slots__ = (
        "_edge", "_started", "body_unread", "call_id", "parameters", "public", "rate_class",
        "record", "wire",
    )  # fmt: skip

    def __init__(self, edge: Edge, wire: Wire) -> None:
        fields = wire.fields
        self._edge = edge
        self._started = edge.clock.monotonic()
        self.wire = wire
        self.call_id = call_id = uuid7(edge.clock)
        self.parameters: Mapping[str, str] = {}
        self.rate_class = ""
        self.public = False
        self.body_unread = True
        self.record = EdgeRecord(
            method=wire.method,
            route="",
            request_id=request_id_or_new(_text(fields.get(b"x-request-id")), call_id),
            trace=continue_trace(_text(fields.get(b"traceparent"))),
            started_ns=time.time_ns(),
            client_address=self._client(),
        )

    def header(self, name: bytes) -> str:
        """A request header as ASCII text, empty when absent."""
        return _text(self.wire.fields.get(name))

    def _client(self) -> str:
        address, proxies = self.wire.client_address, self._edge.proxies
        return client_address(address, self.header(b"x-forwarded-for"), proxies) if proxies else address

    # Towards the services.

    def options(self, timeout: float | None = None) -> Options:
        """Metadata for the call this request becomes; `timeout` in seconds. Whoever is called writes the log line."""
        record, fields = self.record, self.wire.fields
        record.reached_service = True
        origin = Origin(
            record.request_id,
            self.call_id,
            record.trace,
            record.client_address,
            f"{record.method} {record.route}",
        )
        metadata = {}
        for name, key in _FORWARDED:
            if name in fields:
                metadata[key] = _text(fields[name])
        return Options(metadata, timeout, origin)

    # From the client.

    async def json(self, limit: int) -> Tree:
        """The request's JSON object. Raises Malformed, or HeadgateError for a body of the wrong type or of more than
        `limit` bytes, which is not read to its end."""
        self._check_content()
        announced = self.wire.fields.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        body, more = await self.wire.read()
        if more:
            body = await self._rest(body, limit)
        if len(body) > limit:
            raise _too_large(limit)
        self.body_unread = False
        return parse(body)

    def _check_content(self) -> None:
        fields = self.wire.fields
        if fields.get(b"content-encoding", b"identity").lower() != b"identity":
            raise HeadgateError(Reason.UNSUPPORTED_MEDIA_TYPE, "Compressed bodies are not accepted.")
        if fields.get(b"content-type") not in _PLAIN_JSON and not _is_json(self.header(b"content-type")):
            raise HeadgateError(Reason.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {JSON}, in UTF-8.")

    async def _rest(self, first: bytes, limit: int) -> bytes:
        pieces, size, more = [first], len(first), True
        while more:
            if size > limit:
                raise _too_large(limit)
            piece, more = await self.wire.read()
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    # To the client.

    def answer(
        self, body: bytes, metadata: Mapping[str, str], status: int = 200, content_type: str = JSON
    ) -> Awaitable[None]:
        """Send the whole reply. `metadata` is the service's; its `x-…` entries become headers."""
        self.record.http_status = status
        return self.wire.reply(status, self._fields(metadata, content_type), body)

    async def open_events(self, metadata: Mapping[str, str]) -> Callable[[bytes, bool], Awaitable[None]]:
        """Send the headers of a stream of server-sent events. Returns what sends a piece of its body; the second
        argument says whether more will come."""
        fields = self._fields(metadata, "text/event-stream")
        fields["cache-control"] = "no-cache, no-store, private"
        fields["x-accel-buffering"] = "no"
        self.record.http_status = 200
        await self.wire.open(200, fields)
        return self.wire.piece

    async def fail(self, error: HeadgateError, extra: Mapping[str, str] | None = None) -> None:
        """Send the error's envelope."""
        language = choose_language(self.header(b"accept-language")) if self._edge.languages else ""
        reply = error_reply(error, language)
        self.record.reason = error.reason.value
        if error.reason is Reason.SERVICE_UNAVAILABLE and not error.metadata:
            # Trouble on the way to a service, not its answer: none writes the log line.
            self.record.reached_service = False
        await self.answer(reply.body, {**reply.headers, **(extra or {})}, reply.status)

    def failed(self, error: HeadgateError) -> None:
        """Note an error that was told within a stream."""
        self.record.reason = error.reason.value

    def _fields(self, metadata: Mapping[str, str], content_type: str) -> dict[str, str]:
        shown = _shown(tuple(metadata))
        fields = dict(metadata) if len(shown) == len(metadata) else {name: metadata[name] for name in shown}
        if content_type is JSON and not self.public:
            fields.update(_PRIVATE_JSON)
        else:
            fields.update(_PUBLIC if self.public else _PRIVATE)
            fields["content-type"] = content_type
        fields.setdefault("x-request-id", self.record.request_id)
        fields.setdefault("x-call-id", self.call_id)
        fields["x-response-time-ms"] = str(int((self._edge.clock.monotonic() - self._started) * 1000))
        if self.body_unread and b"expect" in self.wire.fields:
            # The client was not told to go on, so what it sends next need not be the body that was announced.
            fields["connection"] = "close"
        return fields

    # The end.

    def finish(self) -> None:
        """Hand in the record."""
        if self.wire.gone:
            self.record.http_status = cancelled().condition.http
            self.record.reason = Reason.CANCELLED.value
        self.record.ended_ns = time.time_ns()
        self._edge.observer(self.record)


def _too_large(limit: int) -> HeadgateError:
    return HeadgateError(Reason.PAYLOAD_TOO_LARGE, f"The body is larger than {limit} bytes.")


def _text(value: bytes | None) -> str:
    return value.decode("ascii", "backslashreplace").replace("\t", " ") if value else ""


def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    return kind.strip() == JSON and (not charset.startswith("charset=") or charset == "charset=utf-8")


@lru_cache(256)
def _shown(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a reply's metadata that become header fields: there are few different sets of names."""
    return tuple(name for name in names if name.startswith("x-") or name in _PASSED)
