"""What one process holds of one bucket, and its part of each ask and grant."""

import asyncio
from dataclasses import dataclass
from enum import Enum

from headgate.metering.v1.metering_pb2 import LeaseAsk, LeaseGrant
from headgate_leases.bucket import Level, TokenBucket
from headgate_leases.refusal import BucketState

# Processes that a bucket's limit is shared among when metering has never said how many there are.
_UNKNOWN_HOLDERS = 10
# Whoever comes back exactly after the stated milliseconds must not be early by the error of a float.
_ROUNDING_S = 1e-6


class Verdict(Enum):
    """What became of a wait for units."""

    GRANTED = "granted"
    REFUSED = "refused"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Waiter:
    """A call that waits for units of a bucket."""

    units: int
    verdict: "asyncio.Future[Verdict]"


@dataclass(frozen=True, slots=True)
class Asked:
    """An ask under way: what it reported, and the debt of the fair share in it."""

    holding: "Holding"
    ask: LeaseAsk
    fair_share_debt: int
    sent_at: float


class Holding:
    """Units of one bucket in this process. Every unit granted is spent, returned or still in `units`, which is
    negative while more was spent than held. `spent` and `returned` wait to be reported."""

    __slots__ = (
        "bucket_id",
        "expires",
        "fair_level",
        "figures",
        "holders",
        "limit",
        "low",
        "refused_until",
        "remaining",
        "reset_at_ms",
        "returned",
        "spent",
        "units",
        "waiters",
    )

    def __init__(self, bucket_id: str) -> None:
        self.bucket_id = bucket_id
        self.units = 0
        self.expires = 0.0
        self.low = 0
        self.spent = 0
        self.returned = 0
        self.limit = 0
        self.remaining = 0
        self.reset_at_ms = 0
        self.holders = 0
        self.refused_until = 0.0
        self.figures: TokenBucket | None = None
        self.fair_level: Level | None = None
        self.waiters: list[Waiter] = []

    def state(self) -> BucketState:
        """The figures for the limit headers."""
        limit = self.limit or (self.figures.capacity if self.figures else 0)
        remaining = self.remaining + self.units
        return BucketState(limit, remaining if remaining > 0 else 0, self.reset_at_ms)

    def ask(self, now: float, *, probe: bool) -> Asked | None:
        """The next ask; None when there is nothing to say. A `probe` goes out even then: it finds out whether
        metering is back."""
        self._expire(now)
        debt = self._fair_share_debt(now)
        ask = LeaseAsk(
            bucket_id=self.bucket_id, want=self._want(now), spent=self.spent, returned=self.returned - debt
        )
        # What was spent of a running lease can wait for the next top-up.
        idle = self.spent and now >= self.expires
        if not (ask.want or ask.returned or idle or probe):
            return None
        return Asked(self, ask, debt, now)

    def granted(self, asked: Asked, grant: LeaseGrant, now: float) -> None:
        """Book the answer to an ask, then serve who waits."""
        self.spent -= asked.ask.spent
        self.returned -= asked.ask.returned + asked.fair_share_debt
        self.returned -= max(0, self._fair_share_debt(now) - asked.fair_share_debt)
        self.fair_level = None
        self.limit = grant.limit
        self.remaining = grant.remaining
        self.reset_at_ms = grant.reset_at_ms
        self.holders = grant.holders
        self._expire(now)
        if grant.units:
            self.units += grant.units
            # From when it was asked for: the answer may have lain in a socket while this process stood still.
            self.expires = asked.sent_at + grant.ttl_ms / 1000
        short = grant.units < asked.ask.want
        self.refused_until = now + max(grant.retry_after_ms, 1) / 1000 - _ROUNDING_S if short else 0.0
        # Half of what is granted ahead of need; nothing once the bucket has run dry.
        self.low = 0 if short else min(grant.limit // 200, grant.units // 2)
        self._serve(now)

    def failed(self, asked: Asked) -> None:
        """The ask may or may not have arrived: units given back are lost rather than given twice, debts are
        reported again rather than forgotten."""
        self.returned -= max(0, asked.ask.returned + asked.fair_share_debt)
        waiting, self.waiters = self.waiters, []
        for waiter in waiting:
            if not waiter.verdict.done():
                waiter.verdict.set_result(Verdict.AWAY)

    def take_fair_share(self, units: int, figures: TokenBucket, now: float) -> int:
        """Take from this process's part of the limit while metering is away. Gives 0, or the milliseconds until
        the units will be there."""
        bucket, now_ms = self._fair_bucket(figures), int(now * 1000)
        level = self.fair_level or bucket.full(now_ms)
        wait_ms = bucket.retry_after_ms(level, now_ms, units)
        if wait_ms == 0 and units <= bucket.capacity:
            self.fair_level, _ = bucket.take(level, now_ms, units)
            self.spent += units
            return 0
        return max(1, wait_ms)

    def _fair_bucket(self, figures: TokenBucket) -> TokenBucket:
        sharers = max(1, self.holders) if self.limit else _UNKNOWN_HOLDERS
        return TokenBucket(max(1, figures.capacity // sharers), max(1, figures.per_minute // sharers))

    def _fair_share_debt(self, now: float) -> int:
        """Units spent in metering's absence that time has not refilled yet: they are owed to the bucket."""
        if self.fair_level is None or self.figures is None:
            return 0
        bucket = self._fair_bucket(self.figures)
        return bucket.capacity - bucket.remaining(self.fair_level, int(now * 1000))

    def _want(self, now: float) -> int:
        wanted = sum(waiter.units for waiter in self.waiters if not waiter.verdict.done())
        if wanted:
            return max(0, wanted - self.units)
        return 1 if self.units < self.low and now >= self.refused_until else 0

    def _expire(self, now: float) -> None:
        if now >= self.expires:
            self.low = 0
        elif self.units >= 0:
            return
        self.returned += self.units
        self.units = 0

    def _serve(self, now: float) -> None:
        waiting, self.waiters = self.waiters, []
        for waiter in waiting:
            if waiter.verdict.done():
                continue
            if self.units >= waiter.units:
                self.units -= waiter.units
                self.spent += waiter.units
                waiter.verdict.set_result(Verdict.GRANTED)
            elif now < self.refused_until:
                waiter.verdict.set_result(Verdict.REFUSED)
            else:
                self.waiters.append(waiter)
