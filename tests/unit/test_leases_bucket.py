"""The token bucket admits its burst at once and its rate evenly, and never more, on any clock."""

from hypothesis import given
from hypothesis import strategies as st

from headgate_leases.bucket import TokenBucket

NOW = 1_700_000_000_000


def test_a_full_bucket_gives_its_burst_and_no_more() -> None:
    bucket = TokenBucket(10, 60)
    level, granted = bucket.take(bucket.full(NOW), NOW, 12)
    assert granted == 10
    assert bucket.take(level, NOW, 1)[1] == 0
    assert bucket.remaining(level, NOW) == 0


def test_one_unit_is_there_exactly_when_retry_after_has_passed() -> None:
    for rate in (1, 7, 10, 60, 333, 100_000):
        bucket = TokenBucket(rate, rate)
        level, _ = bucket.take(bucket.full(NOW), NOW, rate)
        wait = bucket.retry_after_ms(level, NOW)
        assert bucket.remaining(level, NOW + wait - 1) == 0
        assert bucket.remaining(level, NOW + wait) >= 1


def test_reset_is_the_first_moment_it_is_full() -> None:
    bucket = TokenBucket(10, 7)
    level, _ = bucket.take(bucket.full(NOW), NOW, 3)
    reset = bucket.reset_at_ms(level, NOW)
    assert bucket.remaining(level, reset) == 10
    assert bucket.at(level, reset - 1).missing > 0
    assert bucket.reset_at_ms(bucket.full(NOW), NOW + 5) == NOW + 5


def test_debt_delays_everyone_until_it_is_refilled() -> None:
    bucket = TokenBucket(60, 60)
    level = bucket.give_back(bucket.full(NOW), NOW, -90)
    assert bucket.remaining(level, NOW) == 0
    assert bucket.retry_after_ms(level, NOW) == 31_000
    assert bucket.remaining(level, NOW + 31_000) == 1


def test_giving_back_never_overfills() -> None:
    bucket = TokenBucket(5, 5)
    level, _ = bucket.take(bucket.full(NOW), NOW, 2)
    assert bucket.remaining(bucket.give_back(level, NOW, 100), NOW) == 5


def test_a_clock_that_steps_back_and_forth_refills_nothing_twice() -> None:
    bucket = TokenBucket(60, 60)
    level, _ = bucket.take(bucket.full(NOW), NOW, 60)
    for step in range(20):  # two clocks, five minutes apart, take turns
        level, granted = bucket.take(level, NOW - 300_000 * (step % 2), 1)
        assert granted == 0
    assert bucket.retry_after_ms(level, NOW - 300_000) == 301_000


def test_more_than_fits_waits_for_the_whole_bucket() -> None:
    bucket = TokenBucket(10, 60)
    level, _ = bucket.take(bucket.full(NOW), NOW, 10)
    assert bucket.retry_after_ms(level, NOW, 999) == bucket.retry_after_ms(level, NOW, 10) == 10_000


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 10**6)), max_size=40),
)
def test_never_grants_more_than_burst_plus_what_time_refilled(
    capacity: int, rate: int, takes: list[tuple[int, int]]
) -> None:
    bucket, now, granted_in_all = TokenBucket(capacity, rate), NOW, 0
    level = bucket.full(now)
    for wait, units in takes:
        now += wait
        level, granted = bucket.take(level, now, units)
        granted_in_all += granted
        assert 0 <= granted <= units
        assert granted_in_all * 60_000 <= capacity * 60_000 + (now - NOW) * rate
        if granted < units:  # nothing whole was held back
            assert level.missing > (capacity - 1) * 60_000
