"""One behaviour for every backend of the lease store."""

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path

import pytest

from headgate_leases.bucket import Level
from headgate_metering.buckets import Bucket, Lease
from headgate_metering.store import LeaseStore
from headgate_metering.stores.memory_leases import MemoryLeaseStore
from headgate_metering.stores.sql_leases import SqlLeaseStore

ONE = "requests/free/default/key_1"
TWO = "tokens/free/default/key_1"
BUCKET = Bucket(Level(60_000, 5), 3, (Lease("a", 1, 50), Lease("b", 0, 60)), 100)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LeaseStore]:
    opened: LeaseStore = (
        MemoryLeaseStore() if request.param == "memory" else SqlLeaseStore.open(tmp_path / "leases.sqlite3")
    )
    yield opened
    await opened.close()


async def put(store: LeaseStore, **buckets: Bucket) -> None:
    await store.update(buckets, lambda known: known.update(buckets))


async def get(store: LeaseStore, *ids: str) -> dict[str, Bucket]:
    return await store.update(ids, dict)


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

    def fail(known: MutableMapping[str, Bucket]) -> None:
        known[ONE] = Bucket(Level(0, 0))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.update([ONE], fail)
    assert await get(store, ONE) == {ONE: BUCKET}


async def test_buckets_are_forgotten_after_their_time(store: LeaseStore) -> None:
    await put(store, **{ONE: BUCKET, TWO: Bucket(Level(0, 1), keep_until_ms=101)})
    assert await store.forget(100) == 0
    assert await store.forget(101) == 1
    assert await get(store, ONE, TWO) == {TWO: Bucket(Level(0, 1), keep_until_ms=101)}


async def test_grants_survive_a_reopening(tmp_path: Path) -> None:
    first = SqlLeaseStore.open(tmp_path / "leases.sqlite3")
    await put(first, **{ONE: BUCKET})
    await first.close()
    second = SqlLeaseStore.open(tmp_path / "leases.sqlite3")
    assert await get(second, ONE) == {ONE: BUCKET}
    await second.close()
