"""A channel for the loop of a thread of its own, over gRPC's blocking API. All grpc.aio loops of a process share one
queue: a second one wakes with every event of the first, eleven times in a call (counted as context switches)."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from headgate_rpc.call import Method
from headgate_rpc.channel import NO_OPTIONS, Options, Reply
from headgate_rpc.grpc_options import CHANNEL_OPTIONS, ChannelOptions, client_arguments, wire_metadata
from headgate_rpc.status import error_of, text_of
from headgate_settings import Secret


class ThreadChannel:
    """As GrpcChannel, for few calls: each waiting one occupies a thread. Connects with the first call, and again
    with the first after it was closed."""

    def __init__(
        self, target: str, suite_secret: Secret | None = None, options: ChannelOptions = CHANNEL_OPTIONS
    ) -> None:
        self._target = target
        self._secret = suite_secret
        self._options = options
        self._channel: grpc.Channel | None = None

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """See Channel."""
        timeout = self._options.unary_timeout_s if options.timeout is None else options.timeout
        call = self._opened().unary_unary(
            method.full_name, method.request_class.SerializeToString, method.response_class.FromString
        )
        metadata = wire_metadata(options, self._secret)
        try:
            message, ended = await asyncio.to_thread(call.with_call, request, timeout, metadata)
        except grpc.RpcError as fault:
            raise error_of(fault) from fault
        return Reply(message, text_of(ended.initial_metadata()) | text_of(ended.trailing_metadata()))

    async def stream(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> "ThreadStream":
        """See Channel."""
        begin = self._opened().unary_stream(
            method.full_name, method.request_class.SerializeToString, method.response_class.FromString
        )
        stream = ThreadStream(begin(request, options.timeout, wire_metadata(options, self._secret)))
        try:
            await stream.start()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def close(self) -> None:
        """Close the connections; running calls are cancelled."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await asyncio.to_thread(channel.close)

    def _opened(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = grpc.insecure_channel(self._target, client_arguments(self._options))
        return self._channel


class ThreadStream:
    """A running stream."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._replies: Iterator[Message] = iter(call)
        self.metadata: Mapping[str, str] = {}

    async def start(self) -> None:
        """Wait for initial metadata. What ended the call before that is raised here or by the first read."""
        try:
            self.metadata = text_of(await asyncio.to_thread(self._call.initial_metadata))
        except grpc.RpcError as fault:
            raise error_of(fault) from fault

    def __aiter__(self) -> "ThreadStream":
        return self

    async def __anext__(self) -> Message:
        try:
            message = await asyncio.to_thread(next, self._replies, None)
        except grpc.RpcError as fault:
            raise error_of(fault) from fault
        if message is None:
            raise StopAsyncIteration
        return message

    async def aclose(self) -> None:
        """Cancel the call, wherever it is; a read that waits in a thread ends by that."""
        self._call.cancel()
