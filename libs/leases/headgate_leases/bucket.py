"""The token bucket of one limit, in whole numbers only: no drift, however long it runs.

Metering keeps a `Level` for each bucket and passes it through; the same arithmetic is a holder's fair share
while metering is away."""

from typing import NamedTuple

_MINUTE_MS = 60_000


class Level(NamedTuple):
    """How full a bucket is. `missing` counts what lacks to full in 1/60,000 units (a bucket of r per minute
    refills r of them each millisecond); more than the capacity is debt. `at_ms` is when that was true."""

    missing: int
    at_ms: int


class TokenBucket:
    """A bucket of `capacity` units that refills evenly at `per_minute`. Stateless: levels go in and come out.

    Time never runs back for a level: a `now_ms` before `at_ms` refills nothing, because two clocks that
    disagree would otherwise both add the time between them.
    """

    __slots__ = ("capacity", "per_minute")

    def __init__(self, capacity: int, per_minute: int) -> None:
        if capacity < 1 or per_minute < 1:
            raise ValueError("a bucket holds and refills at least one unit")
        self.capacity = capacity
        self.per_minute = per_minute

    def full(self, now_ms: int) -> Level:
        """The level of a bucket nobody has used."""
        return Level(0, now_ms)

    def at(self, level: Level, now_ms: int) -> Level:
        """The level refilled up to `now_ms`."""
        elapsed = now_ms - level.at_ms
        if elapsed <= 0:
            return level
        return Level(max(0, level.missing - elapsed * self.per_minute), now_ms)

    def remaining(self, level: Level, now_ms: int) -> int:
        """Whole units there now, at least 0."""
        return max(0, self.capacity - -(-self.at(level, now_ms).missing // _MINUTE_MS))

    def take(self, level: Level, now_ms: int, units: int) -> tuple[Level, int]:
        """Take up to `units`; gives the level after and the units granted."""
        granted = min(units, self.remaining(level, now_ms))
        return self.give_back(level, now_ms, -granted), granted

    def give_back(self, level: Level, now_ms: int, units: int) -> Level:
        """Put unspent units back, up to the brim; negative units are taken even where that makes a debt."""
        missing, at_ms = self.at(level, now_ms)
        return Level(max(0, missing - units * _MINUTE_MS), at_ms)

    def reset_at_ms(self, level: Level, now_ms: int) -> int:
        """When the bucket will be full again; `now_ms` when it is."""
        missing, at_ms = self.at(level, now_ms)
        return at_ms - (-missing // self.per_minute) if missing else now_ms

    def retry_after_ms(self, level: Level, now_ms: int, units: int = 1) -> int:
        """Milliseconds until `units` are there, at least 1 unless they are there now. More units than fit
        count as the whole bucket."""
        missing, at_ms = self.at(level, now_ms)
        excess = missing - (self.capacity - min(units, self.capacity)) * _MINUTE_MS
        if excess <= 0:
            return 0
        return max(1, at_ms - now_ms - (-excess // self.per_minute))
