"""The sending end of every watch stream of the suite (decisions.md 13); the other end is `watcher.py`.

A source keeps items by key and a ring of what changed. The streams' messages all have the shape of
proto/headgate/watch/v1, so both ends work on any of them."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from headgate.watch.v1 import watch_pb2
from headgate_rpc.call import Method
from headgate_rpc.errors import HeadgateError, Reason

T = TypeVar("T", bound=Message)
R = TypeVar("R", bound=Message)

RING = 10_000
PART_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    upserts: tuple[Message, ...]
    deletes: tuple[str, ...]
    is_large: bool


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
        is_large = sum(item.ByteSize() for item in upserts.values()) > PART_BYTES
        self._ring.append(_Change(self.version, tuple(upserts.values()), deletes, is_large))
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, position: watch_pb2.Position, response_class: type[R]) -> AsyncIterator[R]:
        """The messages of one watch stream from `position` on, without end."""
        seen = position.version if position.epoch == self.epoch else -1
        while True:
            changed = self._changed
            missed = self._since(seen)
            if missed is None:
                seen = self.version
                for part in self._parts(response_class):
                    yield part
                continue
            for change in missed:
                seen = change.version
                yield self._message(response_class, seen, delta=change)
            if not changed.is_set() and not await self._wait(changed):
                yield self._message(response_class, seen)

    def _since(self, version: int) -> list[_Change] | None:
        """What a follower at `version` has missed; None when it must be told everything: that is not in the ring
        any more (a slow reader, too), or too large for one message."""
        if version >= self.version:
            return []
        if version < (self._ring[0].version - 1 if self._ring else self.version):
            return None
        missed = [change for change in self._ring if change.version > version]
        return None if any(change.is_large for change in missed) else missed

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


def is_watch(method: Method) -> bool:
    """Whether a method is a watch stream, which never ends by itself."""
    heartbeat = method.response_class.DESCRIPTOR.fields_by_name.get("heartbeat")
    return (
        method.server_streaming
        and heartbeat is not None
        and heartbeat.message_type is watch_pb2.Heartbeat.DESCRIPTOR
    )


async def ended_by(end: asyncio.Event, messages: AsyncIterator[R]) -> AsyncIterator[R]:
    """`messages` until `end` is set; then SERVICE_UNAVAILABLE is raised, so that the follower goes elsewhere."""
    ending = asyncio.ensure_future(end.wait())
    coming: asyncio.Future[R | None] | None = None
    try:
        while not ending.done():
            coming = asyncio.ensure_future(_next(messages))
            await asyncio.wait((coming, ending), return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                message = coming.result()
                if message is None:
                    return
                yield message
        raise HeadgateError(Reason.SERVICE_UNAVAILABLE, "This replica stops.", retry_after_ms=0)
    finally:
        tasks: list[asyncio.Future[Any]] = [ending] if coming is None else [ending, coming]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(messages: AsyncIterator[R]) -> R | None:
    return await anext(messages, None)
