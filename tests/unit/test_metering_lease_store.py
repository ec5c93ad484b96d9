"""One behaviour for every backend of the lease store."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from headgate_clock import SystemClock
from headgate_leases.bucket import Level
from headgate_metering.buckets import Bucket, Lease
from headgate_metering.steady_time import SteadyTime
from headgate_metering.store import LeaseStore
from headgate_metering.stores.memory_leases import MemoryLeaseStore
from headgate_metering.stores.redis_leases import RedisLeaseStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_testing.clock import FakeClock
from headgate_testing.databases import ENGINES, location
from headgate_testing.redis_keys import redis_server, throw_away_keys

ONE = "requests/free/default/key_1"
TWO = "tokens/free/default/key_1"
BUCKET = Bucket(Level(60_000, 5), 3, (Lease("a", 1, 50), Lease("b", 0, 60)), 100)


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


async def put(store: LeaseStore, **buckets: Bucket) -> None:
    await store.update(buckets, lambda known, _: known.update(buckets))


async def get(store: LeaseStore, *ids: str) -> dict[str, Bucket]:
    return await store.update(ids, lambda known, _: dict(known))


async def test_a_bucket_comes_back_whole(store: LeaseStore) -> None:
    await put(store, **{ONE: BUCKET, TWO: Bucket(Level(0, 1))})
    assert await get(store, ONE, TWO, "requests/free/default/other") == {
        ONE: BUCKET,
        TWO: Bucket(Level(0, 1)),
    }


async def test_a_change_replaces_what_was_known(store: LeaseStore) -> None:
    await put(store, **{ONE: BUCKET})
    await put(store, **{ONE: Bucket(Level(7, 7))})
    assert await get(store, ONE) == {ONE: Bucket(Level(7, 7))}
    assert await store.count() == 1


async def test_a_change_that_fails_leaves_no_trace(store: LeaseStore) -> None:
    await put(store, **{ONE: BUCKET})

    def fail(known: MutableMapping[str, Bucket], _: int) -> None:
        known[ONE] = Bucket(Level(0, 0))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.update([ONE], fail)
    assert await get(store, ONE) == {ONE: BUCKET}


async def test_the_time_given_is_what_a_change_sees(store: LeaseStore, clock: FakeClock) -> None:
    before = await store.update([ONE], lambda _, now_ms: now_ms)
    clock.advance(5)
    assert await store.update([ONE], lambda _, now_ms: now_ms) == before + 5000


async def test_buckets_are_forgotten_after_their_time(
    store: LeaseStore, clock: FakeClock, request: pytest.FixtureRequest
) -> None:
    if "redis" in request.node.callspec.id:
        pytest.skip("Redis ends keys by its own clock, see below")
    now_ms = clock.wall_ms()
    await put(
        store, **{ONE: replace(BUCKET, keep_until_ms=now_ms), TWO: replace(BUCKET, keep_until_ms=now_ms + 1)}
    )
    assert await store.forget() == 0
    clock.advance(0.001)
    assert await store.forget() == 1
    assert list(await get(store, ONE, TWO)) == [TWO]


@pytest.mark.servers
async def test_in_redis_a_key_ends_on_its_own_when_its_bucket_is_full() -> None:
    clock = FakeClock()
    async with throw_away_keys() as prefix, Redis.from_url(redis_server()) as client:
        store = redis_leases(clock, prefix, SteadyTime(clock))
        await put(store, **{ONE: replace(BUCKET, keep_until_ms=clock.wall_ms() + 60_000)})
        assert 59_000 < await client.pttl(prefix + ONE) <= 61_000
        await store.close()


@pytest.mark.servers
@pytest.mark.parametrize("engine", ["postgres", "redis"])
async def test_a_shared_store_goes_by_its_own_clock(engine: str, tmp_path: Path) -> None:
    clock = FakeClock()  # in 2023
    async with AsyncExitStack() as stack:
        if engine == "redis":
            prefix = await stack.enter_async_context(throw_away_keys())
            store: LeaseStore = redis_leases(clock, prefix)
        else:
            store = SqlLeaseStore.open(stack.enter_context(location(engine, tmp_path)))
        stack.push_async_callback(store.close)
        now_ms = await store.update([ONE], lambda _, now_ms: now_ms)
        assert abs(now_ms - SystemClock().wall_ms()) < 60_000


@pytest.mark.servers
async def test_in_redis_a_change_is_made_again_on_what_another_replica_wrote_meanwhile() -> None:
    clock = FakeClock()
    async with throw_away_keys() as prefix:
        stores = [redis_leases(clock, prefix, SteadyTime(clock)) for _ in range(4)]

        async def count_up(store: RedisLeaseStore) -> None:
            for _ in range(50):
                await store.update([ONE, TWO], _add_one)

        async with asyncio.TaskGroup() as group:
            for store in stores:
                group.create_task(count_up(store))
        counted = await get(stores[0], ONE, TWO)
        for store in stores:
            await store.close()
    assert [counted[each].fencing for each in (ONE, TWO)] == [200, 200]


def _add_one(known: MutableMapping[str, Bucket], now_ms: int) -> None:
    for each in (ONE, TWO):
        bucket = known.get(each, Bucket(Level(0, now_ms)))
        known[each] = replace(bucket, fencing=bucket.fencing + 1)


@pytest.mark.parametrize("engine", ENGINES)
async def test_grants_survive_a_reopening(engine: str, tmp_path: Path) -> None:
    with location(engine, tmp_path) as place:
        first = SqlLeaseStore.open(place)
        await put(first, **{ONE: BUCKET})
        await first.close()
        second = SqlLeaseStore.open(place)
        assert await get(second, ONE) == {ONE: BUCKET}
        await second.close()
