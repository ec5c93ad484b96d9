"""A channel to services of another process, over grpc.aio."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from headgate_rpc.call import Method
from headgate_rpc.channel import NO_OPTIONS, Options, Reply
from headgate_rpc.status import error_of
from headgate_settings import Secret

MAX_REPLY_BYTES = 64 * 1024 * 1024


class GrpcChannel:
    """Calls services at `target` (`host:port`, or any gRPC name). With the suite's secret the callee takes the
    caller for a part of the suite."""

    def __init__(self, target: str, suite_secret: Secret | None = None) -> None:
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
                ("grpc.max_send_message_length", MAX_REPLY_BYTES),
            ],
        )
        self._secret = suite_secret
        self._methods: dict[str, Any] = {}

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """See Channel."""
        call = self._callable(method)(request, metadata=self._metadata(options), timeout=options.timeout)
        try:
            message = await call
            metadata = _text(await call.initial_metadata()) | _text(await call.trailing_metadata())
        except grpc.aio.AioRpcError as fault:
            raise error_of(fault) from fault
        return Reply(message, metadata)

    async def stream(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> "GrpcStream":
        """See Channel."""
        call = self._callable(method)(request, metadata=self._metadata(options), timeout=options.timeout)
        stream = GrpcStream(call)
        try:
            await stream.start()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def close(self) -> None:
        """Close the connections; running calls are cancelled."""
        await self._channel.close()

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

    def _metadata(self, options: Options) -> tuple[tuple[str, str], ...]:
        if self._secret:
            return (*options.metadata.items(), ("x-headgate-suite", self._secret.reveal()))
        return tuple(options.metadata.items())


class GrpcStream:
    """A running stream."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._replies: AsyncIterator[Message] = aiter(call)
        self.metadata: Mapping[str, str] = {}

    async def start(self) -> None:
        """Wait for initial metadata. Raises what ended the call before that."""
        try:
            self.metadata = _text(await self._call.initial_metadata())
            if self._call.done():  # a call that failed at once has metadata too
                await self._raise_fault()
        except grpc.aio.AioRpcError as fault:
            raise error_of(fault) from fault

    async def _raise_fault(self) -> None:
        code = await self._call.code()
        if code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                code,
                await self._call.initial_metadata(),
                await self._call.trailing_metadata(),
                await self._call.details(),
            )

    def __aiter__(self) -> "GrpcStream":
        return self

    async def __anext__(self) -> Message:
        try:
            return await anext(self._replies)
        except grpc.aio.AioRpcError as fault:
            raise error_of(fault) from fault

    async def aclose(self) -> None:
        """Cancel the call, wherever it is."""
        self._call.cancel()


def _text(metadata: Any) -> dict[str, str]:
    return {k: v for k, v in metadata or () if isinstance(v, str)}
