"""The one builder of gRPC servers: a host's services over the wire, with health, reflection, size limits and
a graceful stop."""

import asyncio
import hmac
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from headgate_rpc.call import CallContext, Method, Peer
from headgate_rpc.errors import HeadgateError
from headgate_rpc.grpc_options import ServerOptions, server_arguments
from headgate_rpc.health import SERVICE_NAME as HEALTH
from headgate_rpc.health import Health
from headgate_rpc.host import Endpoint, Host
from headgate_rpc.status import trailing_metadata_of
from headgate_rpc.watch import ended_by, is_watch
from headgate_settings import Secret
from headgate_telemetry.logs import get_logger

__all__ = ["RpcServer", "ServerOptions"]

log = get_logger()


class RpcServer:
    """Serves a host on one address. `port` is known after `start`."""

    def __init__(self, host: Host, address: str, options: ServerOptions | None = None) -> None:
        self._host = host
        self._address = address
        self._options = options or ServerOptions()
        self._server = grpc.aio.server(options=server_arguments(self._options))
        self._names = [service.full_name for service in host.services]
        self._health = Health(self._names)
        self._leaving = asyncio.Event()
        self.port = 0

    async def start(self) -> None:
        """Bind and serve; health says NOT_SERVING until `set_serving`. Raises OSError when the address cannot be
        bound."""
        for service, handlers in self._handlers().items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._options.reflection:
            reflection.enable_server_reflection([*self._names, HEALTH, reflection.SERVICE_NAME], self._server)
        check_free(self._address)
        try:
            self.port = self._server.add_insecure_port(self._address)
        except RuntimeError as fault:
            raise OSError(f"cannot listen on {self._address}") from fault
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Answer health checks of every service, and of the whole server, accordingly."""
        self._health.set(serving)

    async def stop(self, grace: float) -> None:
        """Leave without failing a call: say NOT_SERVING, wait until clients have heard it, end the watch streams
        (their followers go elsewhere), refuse new calls, let running ones end for at most `grace` seconds, then cut
        them.

        Refusing at once would fail calls that are on their way: grpc.aio answers them with CANCELLED."""
        self._health.set(False)
        if self._health.watchers and grace:
            await asyncio.sleep(self._options.drain_wait_s)
        self._leaving.set()
        self._health.close()
        await self._server.stop(grace)

    def _handlers(self) -> dict[str, dict[str, "grpc.RpcMethodHandler[Any, Any]"]]:
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for endpoint in self._host.endpoints():
            method = endpoint.method
            services.setdefault(method.service, {})[method.name] = _handler(
                method, endpoint, self._options.suite_secret, self._leaving
            )
        return services


def check_free(address: str) -> None:
    """Raises OSError for a taken address. gRPC would find out too, but say so on standard error first."""
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_server((host.strip("[]"), int(port)), family=_family(host)).close()
    except OSError as fault:
        raise OSError(f"cannot listen on {address}") from fault


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _handler(
    method: Method, endpoint: Endpoint, secret: Secret | None, leaving: asyncio.Event
) -> "grpc.RpcMethodHandler[Any, Any]":
    if not method.server_streaming:
        return grpc.unary_unary_rpc_method_handler(
            _serve_unary(endpoint, secret),
            request_deserializer=method.request_class.FromString,
            response_serializer=method.response_class.SerializeToString,
        )
    return grpc.unary_stream_rpc_method_handler(
        _serve_stream(endpoint, secret, leaving if is_watch(method) else None),
        request_deserializer=method.request_class.FromString,
        response_serializer=method.response_class.SerializeToString,
    )


def _serve_unary(
    endpoint: Endpoint, secret: Secret | None
) -> Callable[[Message, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Message]]:
    async def serve(request: Message, context: "grpc.aio.ServicerContext[Any, Any]") -> Message:
        call = _open(endpoint, context, secret)
        try:
            reply = await endpoint.unary(call, request)
        except HeadgateError as error:
            await _abort(context, error)
        last = call.trailing_metadata
        if call.peer.inside:
            # Our own clients take both together: the whole reply is then one operation of gRPC, not two.
            last = call.initial_metadata | last
        else:
            await context.send_initial_metadata(tuple(call.initial_metadata.items()))
        if last:
            context.set_trailing_metadata(tuple(last.items()))
        return reply

    return serve


def _serve_stream(
    endpoint: Endpoint, secret: Secret | None, leaving: asyncio.Event | None
) -> Callable[[Message, "grpc.aio.ServicerContext[Any, Any]"], AsyncIterator[Message]]:
    async def serve(
        request: Message, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Message]:
        call = _open(endpoint, context, secret)
        metadata = _MetadataSender(call, context)
        replies = endpoint.stream(call, request)
        until_leaving = replies if leaving is None else ended_by(leaving, replies)
        try:
            async for reply in until_leaving:
                await metadata.send()
                yield reply
        except HeadgateError as error:
            await _abort(context, error)
        finally:
            await replies.aclose()  # type: ignore[attr-defined]  # always an async generator
        await metadata.send()
        if call.trailing_metadata:
            context.set_trailing_metadata(tuple(call.trailing_metadata.items()))

    return serve


class _MetadataSender:
    """Sends a stream's initial metadata once: early when the servicer asks for it, else with the first reply."""

    def __init__(self, call: CallContext, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        self._call = call
        self._context = context
        self._sending: asyncio.Future[None] | None = None
        call.metadata_sender = self._start

    def _start(self) -> None:
        if self._sending is None:
            metadata = tuple(self._call.initial_metadata.items())
            self._sending = asyncio.ensure_future(self._context.send_initial_metadata(metadata))

    async def send(self) -> None:
        self._start()
        if self._sending is not None and not self._sending.done():
            await self._sending


async def _abort(context: "grpc.aio.ServicerContext[Any, Any]", error: HeadgateError) -> None:
    await context.abort(error.condition.status, error.message, trailing_metadata_of(error))


def _open(
    endpoint: Endpoint, context: "grpc.aio.ServicerContext[Any, Any]", secret: Secret | None
) -> CallContext:
    metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
    shown = metadata.pop("x-headgate-suite", "")
    inside = (
        bool(secret) and hmac.compare_digest(shown.encode(), secret.reveal().encode()) if secret else False
    )
    if shown and not inside:
        # Two parts of the suite with different secrets would otherwise only look like strangers to each other.
        log.warning(
            "a caller showed another suite secret; it counts as an outsider", address=_address(context.peer())
        )
    remaining = context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    return endpoint.open(metadata, Peer(_address(context.peer()), inside), deadline)


def _address(peer: str) -> str:
    """`ipv4:127.0.0.1:5000` and `ipv6:%5B::1%5D:5000` to the bare address; empty for a unix socket."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return ""
    return unquote(rest).rpartition(":")[0].strip("[]")
