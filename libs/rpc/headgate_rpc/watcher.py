"""The following end of every watch stream of the suite (decisions.md 13): keeps a copy, resumes it after a cut,
starts again after silence, and may keep its last state on disk."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from headgate.watch.v1 import watch_pb2
from headgate_clock import Clock, SystemClock
from headgate_rpc.channel import StreamReply
from headgate_rpc.errors import HeadgateError
from headgate_rpc.snapshot import SnapshotFile
from headgate_telemetry.logs import get_logger

log = get_logger()

T = TypeVar("T", bound=Message)

# Pause before changes are written, so that many of them cost one write.
SAVE_AFTER_S = 1.0
# A snapshot says when the source was last heard; that may lag by this much.
SAVE_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Update(Generic[T]):
    """What a follower learned together. `restarted` means that `items` may differ from before in any way."""

    items: Mapping[str, T]
    upserts: tuple[T, ...]
    deletes: tuple[str, ...]
    restarted: bool
    position: watch_pb2.Position


OpenStream = Callable[[watch_pb2.Position], Awaitable[StreamReply[Any]]]


class Watcher(Generic[T]):
    """Follows one source: keeps `items` up to date, resumes after a cut, starts again after silence.

    `on_update` is called on the loop of `run` after every change; `ready` is set once the whole state was there, be
    it from the snapshot: that one is looked for when the source could not be reached at once. Another replica of a
    source has another epoch and sends everything, which is then the state, even if that replica is a moment behind.
    """

    def __init__(
        self,
        name: str,
        open_stream: OpenStream,
        key_of: Callable[[T], str],
        on_update: Callable[[Update[T]], None],
        *,
        clock: Clock | None = None,
        silence_s: float = 3.0,
        retry_s: float = 0.2,
        snapshot: SnapshotFile[Any] | None = None,
    ) -> None:
        self.name = name
        self.items: dict[str, T] = {}
        self.ready = asyncio.Event()
        self.position = watch_pb2.Position()
        self._open = open_stream
        self._key_of = key_of
        self._on_update = on_update
        self._clock = clock or SystemClock()
        self._silence_s = silence_s
        self._retry_s = retry_s
        self._heard = self._clock.monotonic()
        self._failures = 0
        self._streaming = False
        self._parts: list[T] = []
        self._keeper = None if snapshot is None else _Keeper(self, snapshot)

    @property
    def connected(self) -> bool:
        """Whether the source is being heard now."""
        return self._streaming

    def age_seconds(self) -> float:
        """How long ago the source was last heard; what is known may be that old."""
        return self._clock.monotonic() - self._heard

    def pause_s(self) -> float:
        """How long to wait before the next try: no two followers of a source that went away come back together."""
        return self._retry_s * min(self._failures + 1, 10) * random.uniform(0.5, 1.5)

    async def run(self) -> None:
        """Follow until cancelled."""
        keeping = None if self._keeper is None else asyncio.create_task(self._keeper.run())
        try:
            while True:
                await self._follow_once()
                await asyncio.sleep(self.pause_s())
        finally:
            if keeping is not None:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _follow_once(self) -> None:
        try:
            await self._follow()
        except (HeadgateError, TimeoutError) as fault:
            self._failures += 1
            if self._failures == 1:
                log.warning("watch interrupted", watch=self.name, fault=str(fault) or "silence")
            if self._keeper is not None and not self.ready.is_set():
                await self._recall(self._keeper)
        finally:
            self._streaming = False

    async def _recall(self, keeper: "_Keeper") -> None:
        found = await keeper.recall()
        if found is not None:
            message, age_s = found
            self._heard = self._clock.monotonic() - age_s
            self._take(message)
            log.warning("serving from a snapshot", watch=self.name, age_s=round(age_s))

    async def _follow(self) -> None:
        self._parts = []
        async with asyncio.timeout(self._silence_s):
            stream = await self._open(self.position)
        async with aclosing(stream):
            replies = aiter(stream)
            while True:
                async with asyncio.timeout(self._silence_s):
                    message = await anext(replies, None)
                if message is None:
                    return
                self._hear()
                self._take(message)

    def _hear(self) -> None:
        self._heard = self._clock.monotonic()
        self._streaming = True
        if self._failures:
            self._failures = 0
            log.info("watch goes on", watch=self.name)

    def _take(self, message: Any) -> None:
        kind = message.WhichOneof("body")
        if kind == "part":
            self._parts.extend(getattr(message.part, "items", ()))
            if message.part.last:
                self.items = {self._key_of(item): item for item in self._parts}
                self._parts = []
                self._announce(message.position, (), (), restarted=True)
        elif kind == "delta" and not self._has_seen(message.position):
            self._apply(message)

    def _has_seen(self, position: watch_pb2.Position) -> bool:
        return position.epoch == self.position.epoch and position.version <= self.position.version

    def _apply(self, message: Any) -> None:
        upserts = tuple(getattr(message.delta, "upserts", ()))
        deletes = tuple(message.delta.deletes)
        # A new dict: whoever was given the old one, such as the keeper's thread, still reads it.
        items = dict(self.items)
        for key in deletes:
            items.pop(key, None)
        items.update((self._key_of(item), item) for item in upserts)
        self.items = items
        self._announce(message.position, upserts, deletes, restarted=False)

    def _announce(
        self,
        position: watch_pb2.Position,
        upserts: tuple[T, ...],
        deletes: tuple[str, ...],
        *,
        restarted: bool,
    ) -> None:
        self.position = position
        self._on_update(Update(self.items, upserts, deletes, restarted, position))
        self.ready.set()
        if self._keeper is not None and self._streaming:
            self._keeper.changed.set()


class _Keeper:
    """Writes a watcher's state to its snapshot: soon after it changed, and now and then to say that it is still so.
    In a thread, because serialising a large catalogue takes longer than a request may wait."""

    def __init__(self, watcher: Watcher[Any], file: SnapshotFile[Any]) -> None:
        self.changed = asyncio.Event()
        self._watcher = watcher
        self._file = file

    async def run(self) -> None:
        """Until cancelled; writes once more then, if there is news."""
        try:
            while True:
                try:
                    async with asyncio.timeout(SAVE_EVERY_S):
                        await self.changed.wait()
                    await asyncio.sleep(SAVE_AFTER_S)
                except TimeoutError:
                    pass
                await asyncio.to_thread(self._save, *self._state())
        finally:
            if self.changed.is_set():
                self._save(*self._state())

    async def recall(self) -> tuple[Any, float] | None:
        """What the file holds, with its age in seconds."""
        return await asyncio.to_thread(self._file.load)

    def _state(self) -> tuple[Mapping[str, Any], watch_pb2.Position, float]:
        """What belongs together, taken on the loop."""
        self.changed.clear()
        return self._watcher.items, self._watcher.position, self._watcher.age_seconds()

    def _save(self, items: Mapping[str, Any], position: watch_pb2.Position, age_s: float) -> None:
        if not position.epoch:  # nothing has been heard yet
            return
        try:
            self._file.save(items.values(), position, age_s)
        except OSError as fault:
            log.warning("snapshot not written", file=str(self._file.path), fault=str(fault))
