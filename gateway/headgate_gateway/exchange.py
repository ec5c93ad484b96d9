"""One HTTP request on its way to a reply: what of its headers goes on as call metadata, its body, its answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from headgate_clock import Clock, uuid7
from headgate_gateway.addresses import Network, client_address
from headgate_gateway.envelope import error_reply
from headgate_gateway.languages import choose_language
from headgate_gateway.strict_json import Tree, parse
from headgate_rpc.call import request_id_or_new
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason, cancelled
from headgate_telemetry.record import EdgeRecord
from headgate_telemetry.trace import continue_trace, format_traceparent

API_VERSION = "1"
JSON = "application/json"
DISCONNECT_CALLBACK = "headgate.on_disconnect"

Headers = list[tuple[bytes, bytes]]

# The only request headers that are looked at; nothing else of a client can get behind the gateway.
_READ = frozenset(
    {
        b"accept-language", b"authorization", b"content-encoding", b"content-length", b"content-type", b"expect",
        b"traceparent", b"x-api-key", b"x-cache-mode", b"x-forwarded-for", b"x-request-id",
    }
)  # fmt: skip
_FIXED = {b"server": b"headgate", b"x-api-version": API_VERSION.encode()}
_PRIVATE = {**_FIXED, b"vary": b"Authorization"}
_FORWARDED = (
    (b"authorization", "authorization"),
    (b"x-api-key", "x-api-key"),
    (b"x-cache-mode", "x-cache-mode"),
)


class ClientGone(Exception):
    """The client went away before its request was read."""


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
        "_edge", "_receive", "_send", "_started", "_task", "body_unread", "call_id", "gone", "headers",
        "parameters", "public", "rate_class", "record", "scope", "started",
    )  # fmt: skip

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        self._edge = edge
        self._receive = receive
        self._send = send
        self._started = time.perf_counter()
        self._task: asyncio.Task[object] | None = None
        self.scope = scope
        self.headers = _read(scope["headers"])
        self.call_id = uuid7(edge.clock)
        self.parameters: Mapping[str, str] = {}
        self.rate_class = ""
        self.public = False
        self.started = False
        self.gone = False
        self.body_unread = True
        self.record = EdgeRecord(
            method=scope["method"],
            route="",
            request_id=request_id_or_new(self.header(b"x-request-id"), self.call_id),
            trace=continue_trace(self.header(b"traceparent")),
            started_ns=time.time_ns(),
            client_address=self._client(),
        )

    def header(self, name: bytes) -> str:
        """A request header as ASCII text, empty when absent; repeated ones are joined, so that two credentials are
        no credential."""
        value = self.headers.get(name)
        return value.decode("ascii", "backslashreplace").replace("\t", " ") if value else ""

    def _client(self) -> str:
        client = self.scope.get("client")
        return client_address(
            client[0] if client else "", self.header(b"x-forwarded-for"), self._edge.proxies
        )

    # Towards the services.

    def options(self, timeout: float | None = None) -> Options:
        """Metadata for the call this request becomes; `timeout` in seconds. Whoever is called writes the log line."""
        record = self.record
        record.reached_service = True
        metadata = {
            "x-request-id": record.request_id,
            "traceparent": format_traceparent(record.trace),
            "x-headgate-call-id": self.call_id,
            "x-headgate-client-ip": record.client_address,
            "x-headgate-endpoint": f"{record.method} {record.route}",
        }
        for name, key in _FORWARDED:
            if name in self.headers:
                metadata[key] = self.header(name)
        return Options(metadata, timeout)

    # From the client.

    async def json(self, limit: int) -> Tree:
        """The request's JSON object. Raises Malformed, or HeadgateError for a body of the wrong type or of more than
        `limit` bytes, which is not read to its end."""
        self._check_content()
        return parse(await self._body(limit))

    def _check_content(self) -> None:
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise HeadgateError(Reason.UNSUPPORTED_MEDIA_TYPE, "Compressed bodies are not accepted.")
        kind, _, parameters = self.header(b"content-type").lower().partition(";")
        charset = parameters.replace(" ", "").replace('"', "")
        if kind.strip() != JSON or (charset.startswith("charset=") and charset != "charset=utf-8"):
            raise HeadgateError(Reason.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {JSON}, in UTF-8.")

    async def _body(self, limit: int) -> bytes:
        announced = self.headers.get(b"content-length", b"")
        self._check_size(int(announced) if announced.isdigit() else 0, limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            self._check_size(size, limit)
            if not message.get("more_body", False):
                self.body_unread = False
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @staticmethod
    def _check_size(size: int, limit: int) -> None:
        if size > limit:
            raise HeadgateError(Reason.PAYLOAD_TOO_LARGE, f"The body is larger than {limit} bytes.")

    # To the client.

    async def answer(
        self, body: bytes, metadata: Mapping[str, str], status: int = 200, content_type: str = JSON
    ) -> None:
        """Send the whole reply. `metadata` is the service's; its `x-…` entries become headers."""
        headers = self._headers(metadata, content_type)
        headers.append((b"content-length", b"%d" % len(body)))
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def open_events(self, metadata: Mapping[str, str]) -> Callable[[bytes, bool], Awaitable[None]]:
        """Send the headers of a stream of server-sent events. Returns what sends a piece of its body; the second
        argument says whether more will come."""
        headers = self._headers(metadata, "text/event-stream")
        headers += [(b"cache-control", b"no-cache, no-store, private"), (b"x-accel-buffering", b"no")]
        await self._start(200, headers)
        send = self._send

        async def piece(data: bytes, more: bool) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        return piece

    async def fail(self, error: HeadgateError, extra: Mapping[str, str] | None = None) -> None:
        """Send the error's envelope."""
        language = choose_language(self.header(b"accept-language")) if self._edge.languages else ""
        reply = error_reply(error, language)
        self.record.reason = error.reason.value
        await self.answer(reply.body, {**reply.headers, **(extra or {})}, reply.status)

    def failed(self, error: HeadgateError) -> None:
        """Note an error that was told within a stream."""
        self.record.reason = error.reason.value

    async def _start(self, status: int, headers: Headers) -> None:
        self.started = True
        self.record.http_status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _headers(self, metadata: Mapping[str, str], content_type: str) -> Headers:
        shown = dict(_FIXED if self.public else _PRIVATE)
        shown[b"content-type"] = content_type.encode()
        if content_type is JSON and not self.public:
            shown[b"cache-control"] = b"private, no-store"
        shown[b"x-request-id"] = self.record.request_id.encode()
        shown[b"x-call-id"] = self.call_id.encode()
        shown[b"x-response-time-ms"] = b"%d" % ((time.perf_counter() - self._started) * 1000)
        if self.body_unread and b"expect" in self.headers:
            # The client was not told to go on, so what it sends next need not be the body that was announced.
            shown[b"connection"] = b"close"
        for name, value in metadata.items():
            if name.startswith("x-") or name in _PASSED:
                shown[name.encode()] = value.encode("ascii", "replace")
        return list(shown.items())

    # The end.

    def watch_client(self, task: "asyncio.Task[object] | None") -> None:
        """Cancel `task` as soon as the server sees that the client has gone."""
        self._task = task
        self.scope[DISCONNECT_CALLBACK] = self.client_gone

    def client_gone(self) -> None:
        """The client will not read any more."""
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def finish(self) -> None:
        """Hand in the record, and let go of what would keep the request alive until the next garbage collection."""
        self.scope.pop(DISCONNECT_CALLBACK, None)
        self._task = None
        if self.gone:
            self.record.http_status = cancelled().condition.http
            self.record.reason = Reason.CANCELLED.value
        self.record.ended_ns = time.time_ns()
        self._edge.observer(self.record)


_PASSED = frozenset({"retry-after", "allow", "connection", "www-authenticate", "content-language"})


def _read(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            found[name] = found[name] + b", " + value if name in found else value
    return found
