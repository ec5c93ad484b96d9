"""A watch that a busy event loop cannot hold up (goal R22).

The watcher runs on a loop and in a thread of its own, over a connection of its own. What it learns is handed over at
once through a deque; the loop that needs it is woken, and may also look into the deque before each decision, which
costs a truth test. So no state is shared but the deque, and nothing is locked. A saturated loop still slows the
thread down, by the interpreter's lock, at each of a message's three hand-overs between threads: half a millisecond
at a time, where Python's own 5 ms would let a hundred revocations a second pile up for seconds."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from google.protobuf.message import Message

from headgate_rpc.thread_channel import ThreadChannel
from headgate_rpc.watcher import Update, Watcher

T = TypeVar("T", bound=Message)

# Seconds for which a thread may keep the interpreter's lock from another one that wants it; of the whole process.
LOCK_S = 0.0005


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
        sys.setswitchinterval(LOCK_S)
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
