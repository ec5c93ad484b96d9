"""Grants, reports and expiry of one limit's bucket."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate_leases.bucket import TokenBucket
from headgate_metering.buckets import (
    HOLDER_TTL_MS,
    STORE_TTL_MS,
    Ask,
    Bucket,
    Grant,
    answer,
)

REQUESTS = "requests/free/default/key_1"
TOKENS = "tokens/free/default/key_1"
START = 1_700_000_000_000


@dataclass
class Limit:
    """One bucket under test, with its clock."""

    bucket: TokenBucket
    bucket_id: str = REQUESTS
    now_ms: int = START
    state: Bucket | None = None

    def ask(self, want: int = 1, *, spent: int = 0, returned: int = 0, holder: str = "a") -> Grant:
        ask = Ask(self.bucket_id, want, spent, returned)
        self.state, grant = answer(self.bucket, self.state, holder, ask, self.now_ms)
        return grant


def test_an_idle_limit_of_n_admits_n_at_once_and_the_next_after_the_wait_it_names() -> None:
    limit = Limit(TokenBucket(10, 10))
    assert [limit.ask(spent=min(n, 1)).units for n in range(10)] == [1] * 10
    refused = limit.ask(spent=1)
    assert (refused.units, refused.remaining, refused.retry_after_ms) == (0, 0, 6_000)
    limit.now_ms += refused.retry_after_ms - 1
    assert limit.ask().units == 0
    limit.now_ms += 1
    assert limit.ask().units == 1


def test_a_grant_says_how_the_bucket_stands() -> None:
    limit = Limit(TokenBucket(10, 10))
    grant = limit.ask()
    assert (grant.limit, grant.remaining, grant.reset_in_ms, grant.holders) == (10, 9, 6_000, 1)
    assert limit.ask(holder="b").holders == 2


def test_fencing_rises_with_each_grant_also_over_a_forgotten_bucket() -> None:
    limit = Limit(TokenBucket(10, 10))
    seen = [limit.ask().fencing for _ in range(3)]
    limit.now_ms += 10 * 60_000
    limit.state = None
    seen.append(limit.ask().fencing)
    assert seen == sorted(set(seen))


def test_units_in_hand_take_room_in_the_bucket() -> None:
    limit = Limit(TokenBucket(1000, 1000))
    held = limit.ask(want=100).units
    limit.now_ms += STORE_TTL_MS  # 116 units would have refilled behind the 100 in hand
    assert limit.ask(want=1000, holder="b").units == 1000 - held


def test_units_of_an_expired_lease_count_as_spent() -> None:
    limit = Limit(TokenBucket(60, 60))
    assert limit.ask(want=60).units == 60
    limit.now_ms += STORE_TTL_MS + 1
    assert limit.ask(want=60, holder="b").units == 0
    limit.now_ms += 2_000  # what refills then is all there is; nothing of the 60 comes back
    assert limit.ask(want=60, holder="b").units == 2


def test_a_late_report_on_an_expired_lease_is_not_charged_twice() -> None:
    limit = Limit(TokenBucket(10, 10))
    for _ in range(20):  # 7.5 requests a minute, each a lease of its own that expires before the next
        assert limit.ask(spent=1).units == 1
        limit.now_ms += 8_000
    assert limit.ask(spent=1).remaining >= 8


def test_a_late_return_of_an_expired_lease_gives_nothing_back() -> None:
    limit = Limit(TokenBucket(10, 10))
    limit.ask(want=10)
    limit.now_ms += STORE_TTL_MS
    assert limit.ask(want=0, returned=10).remaining == 0


def test_returned_units_can_be_granted_again_but_only_once() -> None:
    limit = Limit(TokenBucket(10, 10))
    limit.ask(want=10)
    assert limit.ask(want=0, spent=4, returned=6).remaining == 6
    assert limit.ask(want=0, spent=4, returned=6).remaining == 6  # a report that came twice makes no units
    assert limit.ask(want=10, holder="b").units <= 6


def test_tokens_beyond_the_estimate_make_a_debt_that_is_paid_off_with_time() -> None:
    limit = Limit(TokenBucket(10_000, 10_000), TOKENS)
    granted = limit.ask(want=500).units
    refused = limit.ask(want=1, spent=granted + 15_000, returned=-15_000)
    assert (refused.units, refused.remaining) == (0, 0)
    assert refused.retry_after_ms == pytest.approx((5_000 + granted + 1) * 6, abs=1)
    limit.now_ms += refused.retry_after_ms
    assert limit.ask().units == 1


def test_a_debt_counts_also_when_the_lease_of_its_call_is_long_over() -> None:
    limit = Limit(TokenBucket(1_000, 1_000), TOKENS)
    assert limit.ask(want=1, spent=4_000, returned=-4_000).units == 0


def test_an_estimate_that_came_down_gives_its_rest_back() -> None:
    limit = Limit(TokenBucket(10_000, 10_000), TOKENS)
    granted = limit.ask(want=5_000).units
    before = limit.ask(want=0, spent=granted).remaining
    assert limit.ask(want=0, spent=-200, returned=200).remaining == before + 200


def test_a_wait_counts_units_that_another_holder_may_have_spent_or_not() -> None:
    limit = Limit(TokenBucket(2, 2))
    limit.ask(want=2)
    refused = limit.ask(holder="b")
    assert (refused.units, refused.retry_after_ms) == (0, 30_000 + STORE_TTL_MS)
    limit.now_ms += refused.retry_after_ms
    assert limit.ask(holder="b").units == 1


def test_larger_limits_are_granted_ahead_of_need_but_never_more_than_a_hundredth() -> None:
    assert Limit(TokenBucket(1000, 1000)).ask().units == 10
    assert Limit(TokenBucket(99, 99)).ask().units == 1


def test_a_bucket_is_kept_until_it_is_full_and_nobody_holds_units() -> None:
    limit = Limit(TokenBucket(10, 10))
    limit.ask()
    assert limit.state is not None
    assert limit.state.keep_until_ms == START + STORE_TTL_MS
    limit.ask(want=9)
    assert limit.state.keep_until_ms == START + 60_000


def test_holders_that_went_away_are_forgotten() -> None:
    limit = Limit(TokenBucket(10, 10))
    holders = []
    for number in range(50):
        holders.append(limit.ask(holder=f"h{number}").holders)
        limit.now_ms += 1_000
    assert max(holders) == STORE_TTL_MS // 1_000


@dataclass
class Holder:
    """An honest holder that may lose replies and send reports again."""

    name: str
    units: int = 0
    spent: int = 0
    expires_ms: int = 0
    admitted: list[int] = field(default_factory=list)

    def spend(self, now_ms: int, wish: int) -> None:
        if now_ms >= self.expires_ms:
            self.units = 0
        count = min(wish, self.units)
        self.units -= count
        self.spent += count
        self.admitted += [now_ms] * count

    def ask(self, limit: Limit, want: int, give_back: int, *, reply_lost: bool) -> None:
        returned = min(give_back, self.units) if limit.now_ms < self.expires_ms else 0
        self.units -= returned
        grant = limit.ask(want, spent=self.spent, returned=returned, holder=self.name)
        if not reply_lost:
            self.spent = 0
            self.units += grant.units
            self.expires_ms = limit.now_ms + HOLDER_TTL_MS


STEP = st.tuples(
    st.integers(0, 1),  # holder
    st.integers(0, 9_000),  # milliseconds that pass first
    st.integers(0, 30),  # requests that come
    st.integers(0, 15),  # units asked for
    st.integers(0, 5),  # units returned
    st.booleans(),  # the reply is lost
)


@given(st.integers(1, 40), st.integers(1, 120), st.lists(STEP, max_size=40))
def test_no_window_ever_admits_more_than_the_burst_and_its_refill(
    capacity: int, per_minute: int, steps: list[tuple[int, int, int, int, int, bool]]
) -> None:
    limit = Limit(TokenBucket(capacity, per_minute))
    holders = [Holder("a"), Holder("b")]
    for which, passed, requests, want, give_back, reply_lost in steps:
        limit.now_ms += passed
        holder = holders[which]
        holder.spend(limit.now_ms, requests)
        holder.ask(limit, want, give_back, reply_lost=reply_lost)
        holder.spend(limit.now_ms, requests)
    admitted = sorted(holders[0].admitted + holders[1].admitted)
    for first, since in enumerate(admitted):
        for last in range(first, len(admitted)):
            refill = (admitted[last] - since) * per_minute / 60_000
            assert last - first + 1 <= capacity + refill
