"""A watch that a busy event loop cannot hold up (goal R22).

The watcher runs on a loop and in a thread of its own, over a connection of its own. What it learns is handed over at
once through a deque; the loop that needs it is woken, and may also look into the deque before each decision, which
costs a truth test. So no state is shared but the deque, and nothing is locked. A saturated loop still slows the
thread down, by the interpreter's lock: 5 ms at a time instead of the length of the loop's queue."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from google.protobuf.message import Message

from headgate_rpc.call import Method
from headgate_rpc.channel import NO_OPTIONS, Channel, Options, Reply, StreamReply
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.watcher import Update, Watcher
from headgate_telemetry.logs import get_logger

log = get_logger()

T = TypeVar("T", bound=Message)

# How long gRPC may take to tell the end of calls that were cancelled.
LINGER_S = 0.1


class ThreadChannel(Channel):
    """A channel that is opened by its first call, on the loop of that call: for the one watch that is followed in a
    thread."""

    def __init__(self, open_channel: Callable[[], GrpcChannel]) -> None:
        self._open = open_channel
        self._channel: GrpcChannel | None = None

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """See Channel."""
        return await self._opened().unary(method, request, options)

    async def stream(
        self, method: Method, request: Message, options: Options = NO_OPTIONS
    ) -> StreamReply[Message]:
        """See Channel."""
        return await self._opened().stream(method, request, options)

    async def close(self) -> None:
        """Close it, on the loop it was opened on; the next call opens it again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _opened(self) -> GrpcChannel:
        if self._channel is None:
            self._channel = self._open()
        return self._channel


class WatchThread(Generic[T]):
    """Runs a watcher over `channel` in a thread. `learned`, the watcher's `on_update`, puts its updates into `news`
    and calls `on_news` on the loop that called `start`; whoever takes them from the left there has them all, in
    order."""

    def __init__(self, channel: ThreadChannel, on_news: Callable[[], None]) -> None:
        self.news: deque[Update[T]] = deque()
        self._channel = channel
        self._on_news = on_news
        self._thread: threading.Thread | None = None

    def learned(self, update: Update[T]) -> None:
        """For the watcher."""
        self.news.append(update)
        with suppress(RuntimeError):  # the loop has ended before us
            self._told.call_soon_threadsafe(self._on_news)

    async def start(self, watcher: Watcher[T]) -> None:
        """Begin to follow."""
        self._told = asyncio.get_running_loop()
        begun = self._told.create_future()

        def begin() -> None:
            asyncio.run(
                self._follow(watcher, lambda: self._told.call_soon_threadsafe(begun.set_result, None))
            )

        self._thread = threading.Thread(target=begin, name=f"watch-{watcher.name}", daemon=True)
        self._thread.start()
        await begun

    async def stop(self) -> None:
        """Follow no more."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def _follow(self, watcher: Watcher[T], begun: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(watcher.run())
        begun()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._channel.close()
        # gRPC tells a loop of the end of each call; what waits behind one for a closed loop would wait longer.
        await asyncio.sleep(LINGER_S)
