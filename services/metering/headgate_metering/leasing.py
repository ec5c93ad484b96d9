"""Grants on limits, from one store, stored before they are given."""

from collections.abc import MutableMapping, Sequence

from headgate_leases.bucket import TokenBucket
from headgate_metering.buckets import Ask, Bucket, Grant, answer
from headgate_metering.policies import Limits
from headgate_metering.store import LeaseStore

# RATE-18: clients parse the figures as integers, so "unlimited" is the largest of 32 bits.
UNLIMITED = 2_147_483_647
_MINUTE_MS = 60_000


class Leasing:
    """Answers asks for units of the limits in force."""

    def __init__(self, store: LeaseStore, limits: Limits) -> None:
        self.limits = limits
        self._store = store

    async def acquire(self, holder_id: str, asks: Sequence[Ask]) -> list[Grant]:
        """One grant for each ask, in order, in one transaction. Raises ValueError for a malformed bucket id,
        StoreAwayError while the store does not answer."""
        limits = [self.limits.bucket(ask.bucket_id) for ask in asks]
        limited = {ask.bucket_id for ask, limit in zip(asks, limits, strict=True) if limit is not None}

        def change(buckets: MutableMapping[str, Bucket], now_ms: int) -> list[Grant]:
            return [
                _answer(buckets, limit, holder_id, ask, now_ms)
                for ask, limit in zip(asks, limits, strict=True)
            ]

        if not limited:
            return [_unlimited(ask) for ask in asks]
        return await self._store.update(limited, change)

    async def forget_idle(self) -> int:
        """Drop the buckets that are full and that nobody holds units of; says how many."""
        return await self._store.forget()


def _answer(
    buckets: MutableMapping[str, Bucket], limit: TokenBucket | None, holder_id: str, ask: Ask, now_ms: int
) -> Grant:
    if limit is None:
        return _unlimited(ask)
    after, grant = answer(limit, buckets.get(ask.bucket_id), holder_id, ask, now_ms)
    buckets[ask.bucket_id] = after
    return grant


def _unlimited(ask: Ask) -> Grant:
    return Grant(
        bucket_id=ask.bucket_id,
        fencing=0,
        units=max(ask.want, 0),
        limit=UNLIMITED,
        remaining=UNLIMITED,
        reset_in_ms=_MINUTE_MS,
        holders=1,
        retry_after_ms=0,
    )
