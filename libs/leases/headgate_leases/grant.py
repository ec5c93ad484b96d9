"""How much of a limit one holder gets at a time, and the answer to one ask: what metering decides with."""

from dataclasses import dataclass

from headgate_leases.bucket import Level, TokenBucket


def grant_units(remaining: int, limit: int, want: int) -> int:
    """Units to grant of `remaining`: what is wanted as far as it is there, or more ahead of need: 5 % of the
    remainder, at most 1 % of the limit. Limits under 100 are granted one by one, since a unit that lies idle
    with one holder is missed by the others."""
    if want <= 0 or remaining <= 0:
        return 0
    ahead = min(remaining * 5 // 100, limit // 100)
    return min(remaining, max(want, ahead))


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one ask and the level to store before it is given. Times in milliseconds;
    `retry_after_ms` is when one more unit will be there, 0 when the ask was met in full."""

    level: Level
    units: int
    remaining: int
    reset_at_ms: int
    retry_after_ms: int


def answer_ask(bucket: TokenBucket, level: Level, now_ms: int, *, want: int, returned: int) -> Answer:
    """Book `returned` units (negative: spent beyond what was held, taken now even into debt), then grant.

    Granted units count as gone at once, so that units whose holder died are never spent twice."""
    level = bucket.give_back(level, now_ms, returned)
    units = grant_units(bucket.remaining(level, now_ms), bucket.capacity, want)
    level, units = bucket.take(level, now_ms, units)
    return Answer(
        level=level,
        units=units,
        remaining=bucket.remaining(level, now_ms),
        reset_at_ms=bucket.reset_at_ms(level, now_ms),
        retry_after_ms=bucket.retry_after_ms(level, now_ms) if units < want else 0,
    )
