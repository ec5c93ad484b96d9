"""Pushed state: one source and one follower for every watch stream of the suite (decisions.md 13).

A source keeps items by key and a ring of what changed; a follower keeps a copy that it resumes after a cut.
The streams' messages all have the shape of proto/headgate/watch/v1, so both ends work on any of them."""

import asyncio
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from headgate.watch.v1 import watch_pb2
from headgate_clock import Clock, SystemClock
from headgate_rpc.channel import StreamReply
from headgate_rpc.errors import HeadgateError
from headgate_telemetry.logs import get_logger

log = get_logger()

T = TypeVar("T", bound=Message)
R = TypeVar("R", bound=Message)

RING = 10_000
PART_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    upserts: tuple[Message, ...]
    deletes: tuple[str, ...]


class WatchSource(Generic[T]):
    """State that others follow. Changes get versions in the order of these calls; all calls come from one loop."""

    def __init__(self, heartbeat_s: float = 1.0) -> None:
        self.epoch = uuid.uuid4().hex
        self.version = 1
        self._items: dict[str, T] = {}
        self._ring: deque[_Change] = deque(maxlen=RING)
        self._heartbeat_s = heartbeat_s
        self._changed = asyncio.Event()

    @property
    def position(self) -> watch_pb2.Position:
        """Where a follower that has seen everything stands."""
        return watch_pb2.Position(epoch=self.epoch, version=self.version)

    @property
    def items(self) -> Mapping[str, T]:
        """The state now."""
        return self._items

    def replace(self, items: Mapping[str, T]) -> None:
        """Make `items` the whole state; followers get the difference."""
        upserts = {key: item for key, item in items.items() if self._items.get(key) != item}
        deletes = [key for key in self._items if key not in items]
        if upserts or deletes:
            self.publish(upserts, deletes)

    def publish(self, upserts: Mapping[str, T], deletes: Iterable[str] = ()) -> None:
        """Apply and announce one change. A delete may name a key that was never an item (an invalidation)."""
        deletes = tuple(deletes)
        for key in deletes:
            self._items.pop(key, None)
        self._items.update(upserts)
        self.version += 1
        self._ring.append(_Change(self.version, tuple(upserts.values()), deletes))
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, position: watch_pb2.Position, response_class: type[R]) -> AsyncIterator[R]:
        """The messages of one watch stream from `position` on, without end."""
        if self._can_resume(position):
            seen = position.version
        else:
            seen = self.version
            for part in self._parts(response_class):
                yield part
        while True:
            changed = self._changed
            for change in self._since(seen):
                seen = change.version
                yield self._message(response_class, seen, delta=change)
            if not changed.is_set() and not await self._wait(changed):
                yield self._message(response_class, seen)

    def _can_resume(self, position: watch_pb2.Position) -> bool:
        oldest = self._ring[0].version - 1 if self._ring else self.version
        return position.epoch == self.epoch and oldest <= position.version <= self.version

    def _since(self, version: int) -> list[_Change]:
        if version == self.version:
            return []
        return [change for change in self._ring if change.version > version]

    async def _wait(self, changed: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(self._heartbeat_s):
                return await changed.wait()
        except TimeoutError:
            return False

    def _parts(self, response_class: type[R]) -> list[R]:
        parts = [self._message(response_class, self.version, part=True)]
        size = 0
        for item in self._items.values():
            size += item.ByteSize()
            if size > PART_BYTES:
                parts.append(self._message(response_class, self.version, part=True))
                size = item.ByteSize()
            _any(parts[-1]).part.items.append(item)
        _any(parts[-1]).part.last = True
        return parts

    def _message(
        self, response_class: type[R], version: int, *, delta: _Change | None = None, part: bool = False
    ) -> R:
        message = response_class()
        body = _any(message)
        body.position.epoch = self.epoch
        body.position.version = version
        if part:
            body.part.SetInParent()
        elif delta is None:
            body.heartbeat.SetInParent()
        else:
            body.delta.SetInParent()
            body.delta.deletes.extend(delta.deletes)
            if delta.upserts:
                body.delta.upserts.extend(delta.upserts)
        return message


def _any(message: Message) -> Any:
    return message  # the shared shape of watch messages has no common type in Python


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

    `on_update` is called on the loop after every change; `ready` is set once the whole state was there.
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
    ) -> None:
        self.items: dict[str, T] = {}
        self.ready = asyncio.Event()
        self.position = watch_pb2.Position()
        self._name = name
        self._open = open_stream
        self._key_of = key_of
        self._on_update = on_update
        self._clock = clock or SystemClock()
        self._silence_s = silence_s
        self._retry_s = retry_s
        self._heard = self._clock.monotonic()
        self._parts: list[T] = []

    def age_seconds(self) -> float:
        """How long ago the source was last heard; what is known may be that old."""
        return self._clock.monotonic() - self._heard

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            try:
                await self._follow()
                failures = 0
            except (HeadgateError, TimeoutError) as fault:
                failures += 1
                if failures == 1:
                    log.warning("watch interrupted", watch=self._name, fault=str(fault) or "silence")
            await asyncio.sleep(random.uniform(0.5, 1.5) * self._retry_s * min(failures + 1, 10))

    async def _follow(self) -> None:
        self._parts = []
        stream = await self._open(self.position)
        async with aclosing(stream):
            replies = aiter(stream)
            while True:
                async with asyncio.timeout(self._silence_s):
                    message = await anext(replies, None)
                if message is None:
                    return
                self._heard = self._clock.monotonic()
                self._take(message)

    def _take(self, message: Any) -> None:
        kind = message.WhichOneof("body")
        if kind == "part":
            self._parts.extend(getattr(message.part, "items", ()))
            if not message.part.last:
                return
            self.items = {self._key_of(item): item for item in self._parts}
            self._parts = []
            self._announce(message.position, (), (), restarted=True)
        elif kind == "delta":
            upserts = tuple(getattr(message.delta, "upserts", ()))
            deletes = tuple(message.delta.deletes)
            items = dict(self.items)
            for key in deletes:
                items.pop(key, None)
            items.update((self._key_of(item), item) for item in upserts)
            self.items = items
            self._announce(message.position, upserts, deletes, restarted=False)
        elif not self.ready.is_set():  # resumed at a position where nothing had changed since
            self._announce(message.position, (), (), restarted=False)

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
