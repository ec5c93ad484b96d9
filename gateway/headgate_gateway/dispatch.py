"""From path and method to the handler that translates it; the one place where faults become replies."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import structlog
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from headgate.inference.v1.inference_pb2 import CheckCallerRequest
from headgate_clients.inference import InferenceClient
from headgate_gateway.asgi import AsgiWire
from headgate_gateway.exchange import Edge, Exchange
from headgate_gateway.strict_json import Malformed
from headgate_gateway.wire import ClientGone, Wire
from headgate_rpc.errors import HeadgateError, Reason, internal_error

log = structlog.get_logger()

Handler = Callable[[Exchange], Awaitable[None]]

# Statuses that say more of the caller than of the request.
_OF_THE_CALLER = frozenset({401, 403, 429})
_CREDENTIAL_NAMES = frozenset(
    {
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "key",
        "token",
        "x-api-key",
    }
)


@dataclass(frozen=True, slots=True)
class Route:
    """A path template in Starlette's notation, with a handler for each method. `rate_class` is the endpoint class
    that a request spends from whose body makes no sense; public routes take no credential."""

    template: str
    handlers: Mapping[str, Handler]
    rate_class: str = "default"
    public: bool = False
    allow: str = field(init=False)

    def __post_init__(self) -> None:
        methods = {*self.handlers, *(["HEAD"] if "GET" in self.handlers else [])}
        object.__setattr__(self, "allow", ", ".join(sorted(methods)))


class Gateway:
    """The application: routes with a fixed path by one dict look-up, the others by pattern in order."""

    def __init__(self, edge: Edge, inference: InferenceClient, routes: Sequence[Route]) -> None:
        self.edge = edge
        self._inference = inference
        self._fixed = {route.template: route for route in routes if "{" not in route.template}
        self._patterns: list[tuple[re.Pattern[str], Route]] = [
            (compile_path(route.template)[0], route) for route in routes if "{" in route.template
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as an ASGI application, for servers other than our own."""
        if scope["type"] == "http":
            await self.serve(AsgiWire(scope, receive, send))

    async def serve(self, wire: Wire) -> None:
        """Answer one request."""
        exchange = Exchange(self.edge, wire)
        try:
            try:
                await self._handler(exchange)(exchange)
            except ClientGone:
                raise
            except HeadgateError as error:
                await self._refuse(exchange, error)
            except Exception:
                log.exception(
                    "unhandled fault", request_id=exchange.record.request_id, route=exchange.record.route
                )
                if not wire.started:  # else the listener ends what is half a reply
                    await exchange.fail(internal_error())
        except (ClientGone, asyncio.CancelledError):
            if not wire.gone:
                raise
        finally:
            exchange.finish()

    async def _refuse(self, exchange: Exchange, error: HeadgateError) -> None:
        if isinstance(error, Malformed):
            error = await self._after_check(exchange, error)
        await exchange.fail(error)

    def _handler(self, exchange: Exchange) -> Handler:
        wire = exchange.wire
        if wire.refusal is not None:
            return _Refuse(wire.refusal, {"connection": "close"})
        route = self._find(exchange)
        if route is None:
            return _Refuse(HeadgateError(Reason.NOT_FOUND, "This path does not exist."))
        exchange.record.route = route.template.replace(":path", "")
        exchange.rate_class = route.rate_class
        exchange.public = route.public
        method = exchange.record.method
        handler = route.handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            error = HeadgateError(Reason.METHOD_NOT_ALLOWED, "This path does not take this method.")
            return _Refuse(error, {"allow": route.allow})
        if wire.query and not route.public:
            _check_query(wire.query)
        return handler

    def _find(self, exchange: Exchange) -> Route | None:
        path = exchange.wire.path
        route = self._fixed.get(path)
        if route is not None:
            return route
        for pattern, each in self._patterns:
            if match := pattern.match(path):
                exchange.parameters = match.groupdict()
                return each if all(exchange.parameters.values()) else None
        return None

    async def _after_check(self, exchange: Exchange, error: Malformed) -> HeadgateError:
        """The answer to a request that could not be translated: what its caller is refused for, or the fault with
        the caller's limits (decisions.md 11)."""
        request = CheckCallerRequest(rate_class=exchange.rate_class)
        try:
            reply = await self._inference.check_caller(request, exchange.options())
        except HeadgateError as refusal:
            error.metadata = refusal.metadata
            status = refusal.condition.http
            return refusal if status in _OF_THE_CALLER and status != error.condition.http else error
        error.metadata = dict(reply.metadata)
        return error


class _Refuse:
    """A handler that only answers an error; the caller is not looked at (RATE-15)."""

    def __init__(self, error: HeadgateError, headers: Mapping[str, str] | None = None) -> None:
        self._error = error
        self._headers = headers

    async def __call__(self, exchange: Exchange) -> None:
        exchange.public = True
        await exchange.fail(self._error, self._headers)


def _check_query(query: bytes) -> None:
    """Raises Malformed for a credential in the query string: it would end in access logs (AUTH-17)."""
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _CREDENTIAL_NAMES or value.startswith("sk-hg-"):
            raise Malformed(
                Reason.INVALID_CREDENTIALS,
                "Credentials in the query string are refused; send them in a header.",
            )
