"""One limit as metering keeps it: how full its bucket is, and which holders have units of it in hand."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from headgate_leases.bucket import Level, TokenBucket
from headgate_leases.grant import answer_ask

HOLDER_TTL_MS = 5_000
# Longer than the holder's own, so that no unit is given out again while its holder may still spend it.
STORE_TTL_MS = 7_000

_UNIT = 60_000  # Level counts in 1/60,000 units
_MOST = 10**12  # units; a bound on what wrong reports can add up to


@dataclass(frozen=True, slots=True)
class Lease:
    """Units of a bucket that one holder may still spend. One that holds none counts as a holder too until the
    lease ends: it would share the limit if metering went away."""

    holder_id: str
    units: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of one limit. Held units count as gone from `level`. From `keep_until_ms` on it is a bucket that
    nobody has used."""

    level: Level
    fencing: int = 0
    leases: tuple[Lease, ...] = ()
    keep_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """Units wanted of a bucket, and the report on those granted before: each was spent, is returned, or is still
    held. Negative `spent` are units that were not needed after all, negative `returned` such as were spent beyond
    what was held."""

    bucket_id: str
    want: int
    spent: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to one ask. `reset_in_ms` is how long until the bucket is full, `retry_after_ms` is 0 unless
    less than wanted was granted."""

    bucket_id: str
    fencing: int
    units: int
    limit: int
    remaining: int
    reset_in_ms: int
    holders: int
    retry_after_ms: int


def answer(
    limit: TokenBucket, bucket: Bucket | None, holder_id: str, ask: Ask, now_ms: int
) -> tuple[Bucket, Grant]:
    """Book the report, then grant; gives the state to store before the grant is sent.

    Granted units count as gone at once, and those of a lease that expired without a report as spent.
    """
    bucket = advance(limit, bucket or Bucket(limit.full(now_ms)), now_ms)
    mine = next((lease for lease in bucket.leases if lease.holder_id == holder_id), None)
    held, back = _report(mine.units if mine else 0, ask)
    others = tuple(lease for lease in bucket.leases if lease.holder_id != holder_id)
    level = limit.give_back(bucket.level, now_ms, back)
    level = _keep_room(level, held + sum(lease.units for lease in others))
    given = answer_ask(limit, level, now_ms, want=ask.want, returned=0)
    leases = (*others, Lease(holder_id, held + given.units, now_ms + STORE_TTL_MS))
    # The time is part of it, so that it also rises over a bucket that was forgotten.
    fencing = max(bucket.fencing + 1, now_ms) if given.units else bucket.fencing
    after = Bucket(_bounded(given.level), fencing, leases, _keep_until(leases, given.reset_at_ms))
    return after, Grant(
        bucket_id=ask.bucket_id,
        fencing=fencing,
        units=given.units,
        limit=limit.capacity,
        remaining=given.remaining,
        reset_in_ms=given.reset_at_ms - now_ms,
        holders=len(leases),
        retry_after_ms=_retry_after_ms(limit, after, ask, given.units, now_ms),
    )


def advance(limit: TokenBucket, bucket: Bucket, now_ms: int) -> Bucket:
    """The state at `now_ms`: refilled, expired leases gone. Units in hand take room: without that, a bucket
    would refill behind them and admit more at once than it holds."""
    level = bucket.level
    ends = {each.expires_at_ms for each in bucket.leases if each.expires_at_ms < now_ms}
    for moment in (*sorted(ends), now_ms):
        held = sum(each.units for each in bucket.leases if each.expires_at_ms >= moment)
        level = _keep_room(limit.at(level, moment), held)
    leases = tuple(each for each in bucket.leases if each.expires_at_ms > now_ms)
    return replace(bucket, level=level, leases=leases)


def _report(held: int, ask: Ask) -> tuple[int, int]:
    """Units held after the report, and those that go back to the bucket (negative: taken from it)."""
    debt = max(0, -ask.returned)
    held = min(max(0, held - ask.spent + debt), _MOST)
    # Never more than was granted and not spent: a report that comes twice cannot make units.
    back = min(max(0, ask.returned), held)
    return held - back, back - debt


def _keep_room(level: Level, held: int) -> Level:
    return level._replace(missing=max(level.missing, held * _UNIT))


def _bounded(level: Level) -> Level:
    return level._replace(missing=min(level.missing, _MOST * _UNIT))


def _keep_until(leases: Iterable[Lease], full_at_ms: int) -> int:
    return max((full_at_ms, *(lease.expires_at_ms for lease in leases)))


def _retry_after_ms(limit: TokenBucket, after: Bucket, ask: Ask, units: int, now_ms: int) -> int:
    if units >= ask.want:
        return 0
    wait_ms = limit.retry_after_ms(after.level, now_ms)
    if sum(lease.units for lease in after.leases) >= limit.capacity:
        # Refill finds room only when those who hold the units have spent them, or their leases end.
        wait_ms += max(lease.expires_at_ms for lease in after.leases if lease.units) - now_ms
    return max(1, wait_ms)
