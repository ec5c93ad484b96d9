"""Tells every process which principals it must forget: the log of the store, followed and passed on."""

import asyncio
from collections.abc import AsyncIterator

from headgate.auth.v1 import auth_pb2
from headgate.watch.v1.watch_pb2 import Position
from headgate_auth.invalidation import Log, Mark
from headgate_auth.store import Store
from headgate_database import StoreAwayError
from headgate_rpc.watch import WatchSource

# How long another replica's change stays unseen when its notice is lost.
POLL_S = 0.1

# Principals never travel on this watch, so it has no items.
Source = WatchSource[auth_pb2.Principal]


class Invalidations:
    """The source of WatchCredentials. All replicas show the same epoch and versions, so a follower goes from one to
    another without forgetting anything, and an answer of one can be compared with a change seen at another."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._source: Source | None = None
        self._reading = asyncio.Lock()

    async def catch_up(self) -> None:
        """Passes on what was committed until now. Raises StoreAwayError."""
        async with self._reading:
            mark = Mark(self._source.epoch, self._source.version) if self._source else Mark("", 0)
            log = await self._store.invalidations(mark.version)
            if self._source is not None and log.follows(mark):
                _publish(self._source, log)
            elif mark != log.end:
                self._source = _source_of(log)

    async def run(self) -> None:
        """Catches up with other replicas until cancelled; returns when there can be none."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        if not self._store.listen(wake):
            return
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await changed.wait()
            except TimeoutError:
                pass
            changed.clear()
            try:
                await self.catch_up()
            except StoreAwayError:
                continue  # the store says so itself, once

    async def follow(self, position: Position) -> AsyncIterator[auth_pb2.WatchCredentialsResponse]:
        """The messages of one watch from `position` on, without end. When changes were missed the follower is told
        to forget everybody. Raises StoreAwayError while the log could never be read: followers go on with what
        they know rather than forget it."""
        while True:
            source = self._source
            if source is None:
                raise StoreAwayError
            async for message in source.follow(position, auth_pb2.WatchCredentialsResponse):
                if source is not self._source:
                    break
                yield message
            position = Position()


def _publish(source: Source, log: Log) -> None:
    for change in log.changes:
        source.publish({}, [change.name])


def _source_of(log: Log) -> Source:
    """A source that followers can resume as far back as the log reaches."""
    source = Source()
    source.epoch = log.end.epoch
    source.version = log.changes[0].version - 1 if log.changes else log.end.version
    _publish(source, log)
    return source
