"""One limit as metering keeps it: how full its bucket is, and which holders have units of it in hand."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from headgate_leases.bucket import Level, TokenBucket
from headgate_leases.grant import answer_ask

HOLDER_TTL_MS = 5_000
# Longer than the holder's own, so that no unit is given out again while its holder may still spend it.
STORE_TTL_MS = 7_000
# How long a holder's last report on an expired lease is waited for; after that the bucket may be forgotten.
REPORT_MS = 60_000

_UNIT = 60_000  # Level counts in 1/60,000 units
_MOST = 10**12  # units; a bound on what wrong reports can add up to


@dataclass(frozen=True, slots=True)
class Lease:
    """What one holder has of a bucket: `live` units it may still spend, `lapsed` units of its expired lease on
    which it has not reported. A holder that was refused has one too: its later reports count."""

    holder_id: str
    live: int
    lapsed: int
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
    """Units wanted of a bucket, and the report on those held; `spent` may be negative (an estimate came down)."""

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

    Units of an expired lease count as spent, whatever became of them, until their holder reports otherwise.
    """
    bucket = advance(limit, bucket or Bucket(limit.full(now_ms)), now_ms)
    mine = next((lease for lease in bucket.leases if lease.holder_id == holder_id), None)
    live, back = _report(mine, ask)
    others = tuple(lease for lease in bucket.leases if lease.holder_id != holder_id)
    level = limit.give_back(bucket.level, now_ms, back)
    level = _keep_room(level, live + sum(lease.live for lease in others))
    given = answer_ask(limit, level, now_ms, want=ask.want, returned=0)
    leases = (*others, Lease(holder_id, live + given.units, 0, now_ms + STORE_TTL_MS))
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
        holders=sum(lease.live > 0 for lease in leases),
        retry_after_ms=_retry_after_ms(limit, given.level, ask, given.units, now_ms),
    )


def advance(limit: TokenBucket, bucket: Bucket, now_ms: int) -> Bucket:
    """The state at `now_ms`: refilled, expired leases lapsed. Units in hand take room: without that, a bucket
    would refill behind them and admit more at once than it holds."""
    level = bucket.level
    ends = {each.expires_at_ms for each in bucket.leases if each.live and each.expires_at_ms < now_ms}
    for moment in (*sorted(ends), now_ms):
        held = sum(each.live for each in bucket.leases if each.expires_at_ms >= moment)
        level = _keep_room(limit.at(level, moment), held)
    leases = tuple(_lapse(each, now_ms) for each in bucket.leases if each.expires_at_ms + REPORT_MS > now_ms)
    return replace(bucket, level=level, leases=leases)


def _report(mine: Lease | None, ask: Ask) -> tuple[int, int]:
    """Live units after the report, and the units that go back to the bucket (negative: taken from it)."""
    if mine is None:
        return _first_report(ask)
    # What is spent is first taken from the expired lease: reports look back.
    from_lapsed = min(max(ask.spent, 0), mine.lapsed)
    live = min(mine.live - (ask.spent - from_lapsed), _MOST)
    lapsed = mine.lapsed - from_lapsed
    beyond = max(0, -live)
    live = max(0, live)
    # Never more than was granted and not spent: a report that comes twice cannot make units.
    back = min(max(ask.returned, 0), live + lapsed)
    return live - min(back, live), back - beyond


def _first_report(ask: Ask) -> tuple[int, int]:
    """The report of a holder nothing is known of, since the bucket has been full after its lease. What it spent
    of requests then has refilled. Tokens may be an overrun of a call that ran all the while, so they count."""
    if ask.bucket_id.startswith("tokens/"):
        return _report(Lease("", 0, 0, 0), ask)
    return 0, 0


def _lapse(lease: Lease, now_ms: int) -> Lease:
    if lease.expires_at_ms > now_ms or not lease.live:
        return lease
    return replace(lease, live=0, lapsed=lease.lapsed + lease.live)


def _keep_room(level: Level, held: int) -> Level:
    return level._replace(missing=max(level.missing, held * _UNIT))


def _bounded(level: Level) -> Level:
    return level._replace(missing=min(level.missing, _MOST * _UNIT))


def _keep_until(leases: Iterable[Lease], full_at_ms: int) -> int:
    return max((full_at_ms, *(lease.expires_at_ms + REPORT_MS for lease in leases)))


def _retry_after_ms(limit: TokenBucket, level: Level, ask: Ask, units: int, now_ms: int) -> int:
    short = ask.want - units
    if short <= 0:
        return 0
    # One more request can go once one unit is there; a call needs all its tokens.
    return max(1, limit.retry_after_ms(level, now_ms, short if ask.bucket_id.startswith("tokens/") else 1))
