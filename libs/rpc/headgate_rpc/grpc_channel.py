"""A channel to services of another process, over grpc.aio."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from headgate_rpc.call import Method
from headgate_rpc.channel import NO_OPTIONS, Options, Reply
from headgate_rpc.grpc_options import CHANNEL_OPTIONS, ChannelOptions, client_arguments, wire_metadata
from headgate_rpc.status import error_of, is_lost, text_of
from headgate_settings import Secret


class GrpcChannel:
    """Calls services at `target` (`host:port`, or any gRPC name): round robin over all its addresses, without those
    that say NOT_SERVING. When none can be reached, calls fail at once with SERVICE_UNAVAILABLE. With the suite's
    secret the callee takes the caller for a part of the suite.

    Connects from the start on. Belongs to the running loop.
    """

    def __init__(
        self, target: str, suite_secret: Secret | None = None, options: ChannelOptions = CHANNEL_OPTIONS
    ) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=client_arguments(options))
        self._channel.get_state(try_to_connect=True)
        self._secret = suite_secret
        self._unary_timeout_s = options.unary_timeout_s
        self._resends = 1 if options.resend else 0
        self._methods: dict[str, Any] = {}

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """See Channel."""
        timeout = self._unary_timeout_s if options.timeout is None else options.timeout
        send = self._sender(method, request, options, timeout)
        resends = self._resends
        while True:
            call = send()
            try:
                message = await call
                metadata = text_of(await call.initial_metadata()) | text_of(await call.trailing_metadata())
                return Reply(message, metadata)
            except grpc.aio.AioRpcError as fault:
                if not resends or not is_lost(fault):
                    raise error_of(fault) from fault
                resends -= 1

    async def stream(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> "GrpcStream":
        """See Channel."""
        stream = GrpcStream(self._sender(method, request, options, options.timeout), self._resends)
        try:
            await stream.start()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    @property
    def reachable(self) -> bool:
        """Whether at least one address of the target is connected and serves. Asking begins to connect."""
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def close(self) -> None:
        """Close the connections; running calls are cancelled."""
        await self._channel.close()

    def _sender(
        self, method: Method, request: Message, options: Options, timeout: float | None
    ) -> Callable[[], Any]:
        """Sends the same call each time it is called, within the same deadline."""
        call = self._callable(method)
        metadata = wire_metadata(options, self._secret)
        if timeout is None:
            return lambda: call(request, metadata=metadata)
        deadline = time.monotonic() + timeout
        return lambda: call(request, metadata=metadata, timeout=deadline - time.monotonic())

    def _callable(self, method: Method) -> Any:
        found = self._methods.get(method.full_name)
        if found is None:
            make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
            found = self._methods[method.full_name] = make(
                method.full_name,
                request_serializer=method.request_class.SerializeToString,
                response_deserializer=method.response_class.FromString,
            )
        return found


class GrpcStream:
    """A running stream. While no message has come it may be sent again, `resends` times, if it got lost."""

    def __init__(self, send: Callable[[], Any], resends: int = 0) -> None:
        self._send = send
        self._resends = resends
        self._begin()
        self.metadata: Mapping[str, str] = {}
        self._early: Message | None = None

    def _begin(self) -> None:
        self._call = self._send()
        self._replies: AsyncIterator[Message] = aiter(self._call)

    async def start(self) -> None:
        """Wait for initial metadata. Raises what ended the call before that."""
        while True:
            try:
                self.metadata = text_of(await self._call.initial_metadata())
                if not self.metadata:
                    # Those of a call that failed are empty, and come before it is known that it did.
                    self._early = await anext(self._replies, None)
                return
            except grpc.aio.AioRpcError as fault:
                self._send_again(fault)

    def _send_again(self, fault: grpc.aio.AioRpcError) -> None:
        """Raises what the fault means when the call must not be sent again."""
        if not self._resends or not is_lost(fault):
            raise error_of(fault) from fault
        self._resends -= 1
        self._begin()

    def __aiter__(self) -> "GrpcStream":
        return self

    async def __anext__(self) -> Message:
        if self._early is not None:
            early, self._early = self._early, None
            self._resends = 0
            return early
        while True:
            try:
                message = await anext(self._replies)
            except grpc.aio.AioRpcError as fault:
                self._send_again(fault)
            else:
                self._resends = 0
                return message

    async def aclose(self) -> None:
        """Cancel the call, wherever it is."""
        self._call.cancel()
