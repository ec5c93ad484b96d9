"""A holder gets what it wants and a little ahead of need, which shrinks as the remainder does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate_leases.bucket import TokenBucket
from headgate_leases.grant import answer_ask, grant_units

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("remaining", "limit", "want", "units"),
    [
        (10, 10, 1, 1),  # small limits go one by one
        (99, 99, 1, 1),
        (100, 100, 1, 1),
        (1000, 1000, 1, 10),  # 1 % of the limit
        (100, 1000, 1, 5),  # 5 % of the remainder
        (19, 1000, 1, 1),
        (1000, 1000, 300, 300),  # wants count before shares
        (200, 1000, 300, 200),  # as far as it is there
        (0, 1000, 1, 0),
        (-5, 1000, 1, 0),
        (1000, 1000, 0, 0),  # a mere report gets nothing
    ],
)
def test_grant(remaining: int, limit: int, want: int, units: int) -> None:
    assert grant_units(remaining, limit, want) == units


@given(st.integers(-10, 10**7), st.integers(1, 10**7), st.integers(0, 10**7))
def test_never_more_than_remains_and_never_less_than_wanted_while_it_remains(
    remaining: int, limit: int, want: int
) -> None:
    units = grant_units(remaining, limit, want)
    assert 0 <= units <= max(remaining, 0)
    assert units >= min(want, max(remaining, 0))
    assert units <= max(want, limit // 100)


def test_a_refusal_says_when_one_unit_will_be_there() -> None:
    bucket = TokenBucket(10, 10)
    answer = answer_ask(bucket, bucket.full(NOW), NOW, want=12, returned=0)
    assert (answer.units, answer.remaining, answer.retry_after_ms) == (10, 0, 6000)
    assert answer.reset_at_ms == NOW + 60_000
    again = answer_ask(bucket, answer.level, NOW + 6000, want=1, returned=0)
    assert (again.units, again.retry_after_ms) == (1, 0)


def test_returned_units_can_be_granted_again_and_debt_is_taken_from_all() -> None:
    bucket = TokenBucket(1000, 1000)
    empty = answer_ask(bucket, bucket.full(NOW), NOW, want=1000, returned=0).level
    assert answer_ask(bucket, empty, NOW, want=5, returned=5).units == 5
    indebted = answer_ask(bucket, empty, NOW, want=0, returned=-100).level
    assert answer_ask(bucket, indebted, NOW + 6000, want=1, returned=0).units == 0
    assert answer_ask(bucket, indebted, NOW + 6060, want=1, returned=0).units == 1
