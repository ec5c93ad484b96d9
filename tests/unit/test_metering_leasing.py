"""Batches of asks against the limits in force, over both stores."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headgate_metering.buckets import Ask
from headgate_metering.leasing import UNLIMITED, Leasing
from headgate_metering.policies import BUILTIN_POLICIES, Limits
from headgate_metering.store import LeaseStore
from headgate_metering.stores.memory_leases import MemoryLeaseStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_settings.config import LimitConfig, PolicyConfig
from headgate_testing.clock import FakeClock

FREE = "requests/free/default/key_1"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LeaseStore]:
    opened: LeaseStore = (
        MemoryLeaseStore() if request.param == "memory" else SqlLeaseStore.open(tmp_path / "leases.sqlite3")
    )
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def leasing(store: LeaseStore, clock: FakeClock) -> Leasing:
    return Leasing(store, Limits(BUILTIN_POLICIES.values()), clock)


async def units(leasing: Leasing, *asks: Ask, holder: str = "a") -> list[int]:
    return [grant.units for grant in await leasing.acquire(holder, asks)]


async def test_a_batch_is_answered_in_order_also_for_one_bucket_twice(leasing: Leasing) -> None:
    asks = [
        Ask(FREE, 6),
        Ask("tokens/free/default/key_1", 700),
        Ask(FREE, 6),
        Ask("requests/free/default/b", 1),
    ]
    grants = await leasing.acquire("a", asks)
    assert [(grant.bucket_id, grant.units) for grant in grants] == [
        (FREE, 6),
        ("tokens/free/default/key_1", 700),
        (FREE, 4),
        ("requests/free/default/b", 1),
    ]


async def test_an_unlimited_policy_grants_everything_and_stores_nothing(
    leasing: Leasing, store: LeaseStore
) -> None:
    [grant] = await leasing.acquire("a", [Ask("requests/enterprise/default/key_1", 5)])
    assert (grant.units, grant.limit, grant.remaining, grant.reset_in_ms) == (5, UNLIMITED, UNLIMITED, 60_000)
    assert await store.count() == 0


async def test_a_malformed_ask_refuses_the_batch_and_grants_nothing(
    leasing: Leasing, store: LeaseStore
) -> None:
    with pytest.raises(ValueError, match="bucket id"):
        await leasing.acquire("a", [Ask(FREE, 1), Ask("nonsense", 1)])
    assert await store.count() == 0


async def test_two_holders_together_get_no_more_than_the_limit(leasing: Leasing) -> None:
    got = [await units(leasing, Ask(FREE, 3), holder=holder) for holder in "abababab"]
    assert sum(count for [count] in got) == 10


async def test_a_step_of_the_wall_clock_changes_no_bucket(leasing: Leasing, clock: FakeClock) -> None:
    await leasing.acquire("a", [Ask(FREE, 10)])
    clock.skew(3600)
    assert await units(leasing, Ask(FREE, 1, spent=10)) == [0]
    clock.skew(-7200)
    clock.advance(6)
    assert await units(leasing, Ask(FREE, 1)) == [1]


async def test_grants_hold_over_a_restart(store: LeaseStore, clock: FakeClock) -> None:
    limits = Limits(BUILTIN_POLICIES.values())
    await Leasing(store, limits, clock).acquire("a", [Ask(FREE, 10)])
    assert await units(Leasing(store, limits, clock), Ask(FREE, 1), holder="b") == [0]


async def test_a_clock_set_back_over_a_restart_only_makes_the_limit_wait(
    store: LeaseStore, clock: FakeClock
) -> None:
    limits = Limits(BUILTIN_POLICIES.values())
    await Leasing(store, limits, clock).acquire("a", [Ask(FREE, 10)])
    clock.skew(-300)
    assert await units(Leasing(store, limits, clock), Ask(FREE, 1, spent=10)) == [0]


async def test_a_new_figure_holds_from_the_next_ask_on(leasing: Leasing) -> None:
    await leasing.acquire("a", [Ask(FREE, 10)])
    policy = PolicyConfig("free", (LimitConfig("default", requests_per_minute=12),))
    leasing.limits = Limits([BUILTIN_POLICIES["standard"], policy])
    [grant] = await leasing.acquire("a", [Ask(FREE, 5, spent=10)])
    assert (grant.units, grant.limit) == (2, 12)


async def test_idle_full_buckets_are_forgotten_and_no_other(
    leasing: Leasing, store: LeaseStore, clock: FakeClock
) -> None:
    asks = [Ask(f"requests/free/default/key_{n}", 1) for n in range(50)]
    await leasing.acquire("a", asks)
    await leasing.acquire("a", [Ask(FREE, 10)])
    assert (await leasing.forget_idle(), await store.count()) == (0, 50)
    clock.advance(20)
    assert (await leasing.forget_idle(), await store.count()) == (49, 1)
    clock.advance(60)
    assert (await leasing.forget_idle(), await store.count()) == (1, 0)
