"""A follower hears of every change, from whichever replica it follows, or is told to forget everybody."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from headgate.auth.v1.auth_pb2 import WatchCredentialsResponse
from headgate.watch.v1.watch_pb2 import Position
from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.invalidation import Log, Mark
from headgate_auth.invalidations import Invalidations
from headgate_auth.stores.memory import MemoryStore
from headgate_database import StoreAwayError


class SharedStore(MemoryStore):
    """A memory that can be away, or shared with others whose notices never come."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.is_shared = False

    def listen(self, wake: Callable[[], None]) -> bool:
        return self.is_shared

    async def invalidations(self, after: int) -> Log:
        if self.away:
            raise StoreAwayError
        return await super().invalidations(after)

    async def revoke(self, name: str) -> None:
        await self.add_key(ApiKey(name, "acct_a", "n", name, b"", (), (), "free", (), 1))
        await self.revoke_key(name, 5)


@pytest.fixture
async def store() -> SharedStore:
    made = SharedStore()
    await made.add_account(Account("acct_a", "alice", "free", 1))
    return made


async def replica_of(store: SharedStore) -> Invalidations:
    invalidations = Invalidations(store)
    await invalidations.catch_up()
    return invalidations


Stream = AsyncIterator[WatchCredentialsResponse]


async def next_of(stream: Stream) -> WatchCredentialsResponse:
    async with asyncio.timeout(5):
        return await anext(stream)


async def test_what_was_committed_is_passed_on_in_order(store: SharedStore) -> None:
    replica = await replica_of(store)
    stream = replica.follow(Position())
    start = await next_of(stream)
    assert start.part.last
    await store.revoke("key_1")
    await store.revoke("key_2")
    await replica.catch_up()
    changes = [await next_of(stream) for _ in range(2)]
    assert [list(each.delta.deletes) for each in changes] == [["principal/key_1"], ["principal/key_2"]]
    assert [each.position.version - start.position.version for each in changes] == [1, 2]


async def test_a_follower_goes_from_one_replica_to_another_without_forgetting(store: SharedStore) -> None:
    one, two = await replica_of(store), await replica_of(store)
    await store.revoke("key_1")
    await one.catch_up()
    seen = (await next_of(one.follow(Position()))).position
    # The other one is behind: it neither repeats nor forgets, and goes on with what comes after.
    stream = two.follow(seen)
    waiting = asyncio.create_task(next_of(stream))
    await asyncio.sleep(0)
    await store.revoke("key_2")
    await two.catch_up()
    change = await waiting
    while change.WhichOneof("body") == "heartbeat":
        change = await next_of(stream)
    assert list(change.delta.deletes) == ["principal/key_2"]
    assert change.position.epoch == seen.epoch


async def test_a_replica_that_starts_later_tells_a_follower_just_what_it_missed(store: SharedStore) -> None:
    one = await replica_of(store)
    await store.revoke("key_1")
    await one.catch_up()
    seen = (await next_of(one.follow(Position()))).position
    await store.revoke("key_2")
    later = await replica_of(store)
    change = await next_of(later.follow(seen))
    assert list(change.delta.deletes) == ["principal/key_2"]
    assert (await next_of(later.follow(change.position))).WhichOneof("body") == "heartbeat"


@pytest.mark.parametrize("epoch", ["", "another"])
async def test_a_follower_of_another_epoch_forgets_everybody(store: SharedStore, epoch: str) -> None:
    await store.revoke("key_1")
    replica = await replica_of(store)
    version = store._end.version
    assert (await next_of(replica.follow(Position(epoch=epoch, version=version)))).part.last


@pytest.mark.parametrize("another_epoch", [False, True], ids=["gap", "epoch"])
async def test_a_gap_in_the_log_makes_running_followers_forget_everybody(
    store: SharedStore, another_epoch: bool
) -> None:
    replica = await replica_of(store)
    stream = replica.follow(Position())
    start = await next_of(stream)
    await store.revoke("key_1")
    if another_epoch:
        store._end = Mark("restored", 1)
        store._log.clear()
    else:
        store._end = Mark(store._end.epoch, store._end.version + 20_000)
        store._log.clear()
        await store.revoke("key_2")
    await replica.catch_up()
    told = await next_of(stream)
    assert told.part.last
    assert (told.position.epoch, told.position.version) == (store._end.epoch, store._end.version)
    assert told.position != start.position


async def test_nobody_is_told_to_forget_before_the_log_could_be_read(store: SharedStore) -> None:
    store.away = True
    replica = Invalidations(store)
    with pytest.raises(StoreAwayError):
        await replica.catch_up()
    with pytest.raises(StoreAwayError):
        await next_of(replica.follow(Position(epoch="known", version=7)))


async def test_heartbeats_go_on_while_the_store_is_away(store: SharedStore) -> None:
    replica = await replica_of(store)
    stream = replica.follow(Position())
    await next_of(stream)
    store.away = True
    with pytest.raises(StoreAwayError):
        await replica.catch_up()
    assert (await next_of(stream)).WhichOneof("body") == "heartbeat"


async def test_nothing_is_polled_where_nobody_else_writes(store: SharedStore) -> None:
    replica = await replica_of(store)
    async with asyncio.timeout(5):
        await replica.run()


async def test_what_others_wrote_is_found_without_any_notice_and_after_an_outage(store: SharedStore) -> None:
    store.is_shared = True
    replica = await replica_of(store)
    running = asyncio.create_task(replica.run())
    stream = replica.follow(Position())
    await next_of(stream)
    await store.revoke("key_1")
    assert list((await next_of(stream)).delta.deletes) == ["principal/key_1"]
    store.away = True
    await store.revoke("key_2")
    assert (await next_of(stream)).WhichOneof("body") == "heartbeat"
    store.away = False
    assert list((await next_of(stream)).delta.deletes) == ["principal/key_2"]
    running.cancel()


def test_the_contract_has_no_place_for_what_must_not_be_kept() -> None:
    """Followers may keep on disk what a watch sends (decisions.md 13); of credentials there are only names."""
    bodies = WatchCredentialsResponse.DESCRIPTOR.oneofs_by_name["body"].fields
    fields = {b.name: [field.name for field in b.message_type.fields] for b in bodies if b.message_type}
    assert fields == {"part": ["last"], "delta": ["deletes"], "heartbeat": []}
