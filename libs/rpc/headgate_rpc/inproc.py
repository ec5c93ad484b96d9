"""A channel to services of the same process: a plain function call through the same chain, no bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

from google.protobuf.message import Message

from headgate_rpc.call import CallContext, Method, Peer
from headgate_rpc.channel import NO_OPTIONS, Options, Reply
from headgate_rpc.errors import deadline_exceeded
from headgate_rpc.host import Endpoint, Host

INSIDE = Peer(address="", inside=True)


class InprocChannel:
    """Calls `host` directly. Messages are handed over as they are, so a servicer must not change a request."""

    def __init__(self, host: Host | None = None, peer: Peer = INSIDE) -> None:
        if host is not None:
            self.connect(host)
        self._peer = peer

    def connect(self, host: Host) -> None:
        """For a composition root whose host needs this very channel (its gate calls auth and metering)."""
        self._host = host

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """See Channel."""
        endpoint = self._host.endpoint(method.full_name)
        call = self._open(endpoint, options)
        message = await endpoint.unary(call, request)
        call.initial_metadata.update(call.trailing_metadata)  # the call is over
        return Reply(message, call.initial_metadata)

    async def stream(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> "InprocStream":
        """See Channel."""
        endpoint = self._host.endpoint(method.full_name)
        call = self._open(endpoint, options)
        stream = InprocStream(call, endpoint.stream(call, request))
        try:
            await stream.start()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    def _open(self, endpoint: Endpoint, options: Options) -> CallContext:
        deadline = None if options.timeout is None else time.monotonic() + options.timeout
        if self._peer.inside:
            return endpoint.open(options.metadata, self._peer, deadline, options.origin)
        return endpoint.open(options.wire_metadata(), self._peer, deadline)

    async def close(self) -> None:
        """Nothing to close."""


class InprocStream:
    """A running stream: the service's generator, driven by its reader."""

    def __init__(self, call: CallContext, replies: AsyncIterator[Message]) -> None:
        self._call = call
        self._replies = replies
        self._first: asyncio.Task[Message] | None = None

    @property
    def metadata(self) -> Mapping[str, str]:
        """Initial metadata."""
        return self._call.initial_metadata

    async def start(self) -> None:
        """Run until initial metadata is there, or the first reply, or the end. Raises what ended the call."""
        loop = asyncio.get_running_loop()
        started = loop.create_future()

        def announce() -> None:
            if not started.done():
                started.set_result(None)

        self._call.metadata_sender = announce
        first = self._first = loop.create_task(self._read())
        first.add_done_callback(lambda _: announce())
        await started
        if first.done() and not isinstance(first.exception(), StopAsyncIteration | None):
            self._first = None
            try:
                first.result()
            finally:
                del first  # a frame that holds what it raises stays until the collector comes

    def __aiter__(self) -> "InprocStream":
        return self

    async def __anext__(self) -> Message:
        if self._first is not None:
            first, self._first = self._first, None
            return await first
        return await self._read()

    async def _read(self) -> Message:
        if self._call.deadline is None:
            return await anext(self._replies)
        remaining = self._call.deadline - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, remaining)):
                return await anext(self._replies)
        except TimeoutError:
            raise deadline_exceeded() from None

    async def aclose(self) -> None:
        """Cancel the call, wherever it is."""
        if self._first is not None:
            first, self._first = self._first, None
            first.cancel()
            await asyncio.wait([first])
        await self._replies.aclose()  # type: ignore[attr-defined]  # always an async generator
