"""Batches of asks against the limits in force, over every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from headgate_admission.built_in import BUILTIN_POLICIES
from headgate_metering.buckets import Ask
from headgate_metering.leasing import UNLIMITED, Leasing
from headgate_metering.policies import Limits
from headgate_metering.steady_time import SteadyTime
from headgate_metering.store import LeaseStore
from headgate_metering.stores.memory_leases import MemoryLeaseStore
from headgate_metering.stores.redis_leases import RedisLeaseStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_settings.config import LimitConfig, PolicyConfig
from headgate_testing.clock import FakeClock
from headgate_testing.databases import ENGINES, location
from headgate_testing.redis_keys import redis_server, throw_away_keys

FREE = "requests/free/default/key_1"


def redis_leases(clock: FakeClock, prefix: str, time: SteadyTime | None = None) -> RedisLeaseStore:
    """Under the prefix, and patient with a busy machine."""
    return RedisLeaseStore(Redis.from_url(redis_server()), clock, time=time, prefix=prefix, timeout_s=10)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", *ENGINES, pytest.param("redis", marks=pytest.mark.servers)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[LeaseStore]:
    time = SteadyTime(clock)
    if request.param == "memory":
        yield MemoryLeaseStore(time)
    elif request.param == "redis":
        async with throw_away_keys() as prefix:
            redis = redis_leases(clock, prefix, time)
            yield redis
            await redis.close()
    else:
        with location(request.param, tmp_path) as place:
            sql = SqlLeaseStore.open(place, time)
            yield sql
            await sql.close()


@pytest.fixture
def leasing(store: LeaseStore) -> Leasing:
    return Leasing(store, Limits(BUILTIN_POLICIES.values()))


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


async def test_grants_hold_over_a_restart(store: LeaseStore) -> None:
    limits = Limits(BUILTIN_POLICIES.values())
    await Leasing(store, limits).acquire("a", [Ask(FREE, 10)])
    assert await units(Leasing(store, limits), Ask(FREE, 1), holder="b") == [0]


async def test_a_clock_set_back_over_a_restart_only_makes_the_limit_wait(
    tmp_path: Path, clock: FakeClock
) -> None:
    limits = Limits(BUILTIN_POLICIES.values())
    store = SqlLeaseStore.open(tmp_path / "leases.sqlite3", SteadyTime(clock))
    await Leasing(store, limits).acquire("a", [Ask(FREE, 10)])
    await store.close()
    clock.skew(-300)
    store = SqlLeaseStore.open(tmp_path / "leases.sqlite3", SteadyTime(clock))
    assert await units(Leasing(store, limits), Ask(FREE, 1, spent=10)) == [0]
    await store.close()


async def test_a_new_figure_holds_from_the_next_ask_on(leasing: Leasing) -> None:
    await leasing.acquire("a", [Ask(FREE, 10)])
    policy = PolicyConfig("free", (LimitConfig("default", requests_per_minute=12),))
    leasing.limits = Limits([BUILTIN_POLICIES["standard"], policy])
    [grant] = await leasing.acquire("a", [Ask(FREE, 5, spent=10)])
    assert (grant.units, grant.limit) == (2, 12)


async def test_idle_full_buckets_are_forgotten_and_no_other(
    leasing: Leasing, store: LeaseStore, clock: FakeClock, request: pytest.FixtureRequest
) -> None:
    if "redis" in request.node.callspec.id:
        pytest.skip("Redis ends keys by its own clock; test_metering_lease_store.py has the test")
    asks = [Ask(f"requests/free/default/key_{n}", 1) for n in range(50)]
    await leasing.acquire("a", asks)
    await leasing.acquire("a", [Ask(FREE, 10)])
    assert (await leasing.forget_idle(), await store.count()) == (0, 50)
    clock.advance(20)
    assert (await leasing.forget_idle(), await store.count()) == (49, 1)
    clock.advance(60)
    assert (await leasing.forget_idle(), await store.count()) == (1, 0)
