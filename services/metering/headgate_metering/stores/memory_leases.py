"""Leases in memory, for tests and for a suite that may forget its limits at a restart."""

from collections.abc import Callable, Collection, MutableMapping
from typing import TypeVar

from headgate_metering.buckets import Bucket
from headgate_metering.steady_time import SteadyTime

T = TypeVar("T")


class MemoryLeaseStore:
    """A dict of buckets."""

    def __init__(self, time: SteadyTime) -> None:
        self._time = time
        self._buckets: dict[str, Bucket] = {}

    async def update(
        self, bucket_ids: Collection[str], change: Callable[[MutableMapping[str, Bucket], int], T]
    ) -> T:
        """See LeaseStore."""
        # A copy: a change that fails half way must leave no trace.
        known = {each: self._buckets[each] for each in bucket_ids if each in self._buckets}
        result = change(known, self._time.now_ms())
        self._buckets.update(known)
        return result

    async def forget(self) -> int:
        """See LeaseStore."""
        now_ms = self._time.now_ms()
        idle = [each for each, bucket in self._buckets.items() if bucket.keep_until_ms < now_ms]
        for each in idle:
            del self._buckets[each]
        return len(idle)

    async def count(self) -> int:
        """See LeaseStore."""
        return len(self._buckets)

    async def close(self) -> None:
        """See LeaseStore."""
