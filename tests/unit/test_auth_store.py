"""One behaviour for every backend of auth's store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.invalidation import KEPT, Invalidation, Log, Mark
from headgate_auth.store import DuplicateError, Store
from headgate_auth.stores.log import append
from headgate_auth.stores.memory import MemoryStore
from headgate_auth.stores.sql import SqlStore
from headgate_auth.stores.tables import ACCOUNTS, API_KEYS, INVALIDATIONS, LOG_END
from headgate_database import Database
from headgate_testing.databases import ENGINES, location

ALICE = Account("acct_a", "alice", "free", 1_000, ("10.0.0.0/8", "2001:db8::/32"))
BOB = Account("acct_b", "bob", "pro", 2_000)

KEY = ApiKey(
    id="key_1",
    account_id="acct_a",
    name="first",
    public_id="AAAAAAAAAAAAAAAA",
    digest=bytes(range(32)),
    scopes=("inference", "keys"),
    models=("gpt-4o-mini",),
    plan_policy="standard",
    ip_allow_list=("192.0.2.0/24",),
    created_at_ms=5_000,
    expires_at_ms=9_000_000_000_000,
)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with location(request.param, tmp_path) as place:
        yield place


every_engine = pytest.mark.parametrize("place", ENGINES, indirect=True)


@pytest.fixture(params=["memory", *ENGINES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield await furnished(MemoryStore())
        return
    with location(request.param, tmp_path) as place:
        opened = await furnished(SqlStore.open(place))
        yield opened
        await opened.close()


async def furnished(store: Store) -> Store:
    await store.add_account(BOB)
    await store.add_account(ALICE)
    return store


async def end_of(store: Store) -> Mark:
    return (await store.invalidations(0)).end


async def test_accounts_come_back_oldest_first_and_whole(store: Store) -> None:
    assert await store.accounts() == [ALICE, BOB]
    assert await store.account("acct_a") == ALICE
    assert await store.account("acct_x") is None


async def test_an_account_id_is_taken_once(store: Store) -> None:
    with pytest.raises(DuplicateError):
        await store.add_account(replace(BOB, id="acct_a"))
    assert await store.account("acct_a") == ALICE


async def test_a_key_comes_back_whole_by_both_ids(store: Store) -> None:
    await store.add_key(KEY)
    assert await store.key("key_1") == KEY
    assert await store.find_key("AAAAAAAAAAAAAAAA") == (KEY, ALICE, await end_of(store))
    assert await store.key("AAAAAAAAAAAAAAAA") is None
    assert await store.find_key("key_1") is None


@pytest.mark.parametrize(
    ("key_id", "public_id"),
    [("key_1", "BBBBBBBBBBBBBBBB"), ("key_2", KEY.public_id)],
    ids=["id", "public_id"],
)
async def test_both_ids_of_a_key_are_taken_once(store: Store, key_id: str, public_id: str) -> None:
    await store.add_key(KEY)
    other = replace(KEY, id=key_id, public_id=public_id, name="second")
    with pytest.raises(DuplicateError):
        await store.add_key(other)
    assert await store.keys("acct_a") == [KEY]


async def test_a_replaced_key_is_found_by_its_new_text_only(store: Store) -> None:
    await store.add_key(KEY)
    new = replace(KEY, public_id="BBBBBBBBBBBBBBBB", digest=bytes(32))
    await store.replace_key(new)
    assert await store.find_key("AAAAAAAAAAAAAAAA") is None
    assert await store.find_key("BBBBBBBBBBBBBBBB") == (new, ALICE, await end_of(store))
    other = replace(KEY, id="key_2", public_id="CCCCCCCCCCCCCCCC")
    await store.replace_key(other)
    with pytest.raises(DuplicateError):
        await store.replace_key(replace(other, public_id="BBBBBBBBBBBBBBBB", digest=bytes(31) + b"1"))
    assert await store.key("key_2") == other


async def test_keys_are_listed_by_account_newest_first(store: Store) -> None:
    keys = [replace(KEY, id=f"key_{n}", public_id=f"{n:016}", created_at_ms=5_000 + n // 2) for n in range(5)]
    for key in keys:
        await store.add_key(key)
    await store.add_key(replace(KEY, id="key_9", public_id="9" * 16, account_id="acct_b"))
    assert [key.id for key in await store.keys("acct_a")] == ["key_4", "key_2", "key_3", "key_0", "key_1"]
    assert await store.keys("acct_x") == []


async def test_a_key_is_revoked_once_and_keeps_its_first_moment(store: Store) -> None:
    await store.add_key(KEY)
    assert await store.revoke_key("key_1", 7_000)
    assert not await store.revoke_key("key_1", 8_000)
    assert not await store.revoke_key("key_x", 8_000)
    assert await store.key("key_1") == replace(KEY, revoked_at_ms=7_000)


async def test_last_use_moves_forward_only(store: Store) -> None:
    await store.add_key(KEY)
    other = replace(KEY, id="key_2", public_id="B" * 16)
    await store.add_key(other)
    await store.touch_keys({"key_1": 6_000, "key_x": 6_000})
    await store.touch_keys({"key_1": 5_500, "key_2": 5_600})
    await store.touch_keys({})
    assert await store.key("key_1") == replace(KEY, last_used_at_ms=6_000)
    assert await store.key("key_2") == replace(other, last_used_at_ms=5_600)


async def test_equal_moments_are_sorted_by_id_in_code_point_order(store: Store) -> None:
    names = ["Z", "c", "B", "_", "0"]
    for name in names:
        await store.add_account(replace(BOB, id=f"acct_{name}", created_at_ms=9_000))
        await store.add_key(replace(KEY, id=f"key_{name}", public_id=name * 16))
    assert [each.id[5:] for each in (await store.accounts())[2:]] == sorted(names)
    assert [each.id[4:] for each in await store.keys("acct_a")] == sorted(names)


async def test_an_id_that_cannot_be_is_unknown(store: Store) -> None:
    for odd in ("key\0", "k" * 5_000, "', DROP", "\u20ac"):
        assert await store.key(odd) is None
        assert await store.account(odd) is None
        assert await store.keys(odd) == []
        assert not await store.revoke_key(odd, 1)


async def test_the_log_names_what_must_be_forgotten_once_in_order(store: Store) -> None:
    start = await store.invalidations(0)
    assert start.changes == ()
    other = replace(KEY, id="key_2", public_id="B" * 16)
    for key in (KEY, other):
        await store.add_key(key)
    await store.touch_keys({"key_1": 6_000})
    assert await end_of(store) == start.end
    await store.revoke_key("key_2", 7_000)
    await store.revoke_key("key_2", 8_000)
    await store.revoke_key("key_x", 8_000)
    await store.replace_key(replace(KEY, digest=bytes(32), public_id="C" * 16))
    await store.replace_key(replace(KEY, digest=bytes(32), public_id="C" * 16, created_at_ms=9_000))
    await store.replace_key(replace(KEY, id="key_3", digest=bytes(31) + b"1", public_id="D" * 16))
    first, end = start.end.version, replace(start.end, version=start.end.version + 2)
    changes = (Invalidation(first + 1, "principal/key_2"), Invalidation(first + 2, "principal/key_1"))
    assert await store.invalidations(first) == Log(end, changes)
    assert await store.invalidations(first + 1) == Log(end, changes[1:])
    assert await store.invalidations(end.version) == Log(end, ())


async def test_a_key_that_is_replaced_by_itself_stays_revoked(store: Store) -> None:
    await store.add_key(KEY)
    await store.revoke_key("key_1", 7_000)
    await store.replace_key(KEY)
    assert await store.key("key_1") == replace(KEY, revoked_at_ms=7_000)


@every_engine
async def test_what_was_stored_is_there_after_a_restart(place: str) -> None:
    first = await furnished(SqlStore.open(place))
    await first.add_key(KEY)
    await first.revoke_key("key_1", 7_000)
    log = await first.invalidations(0)
    await first.close()
    second = SqlStore.open(place)
    assert await second.find_key(KEY.public_id) == (replace(KEY, revoked_at_ms=7_000), ALICE, log.end)
    assert await second.invalidations(0) == log
    await second.close()


@every_engine
async def test_the_log_keeps_the_last_ten_thousand(place: str) -> None:
    store = SqlStore.open(place)
    end = await end_of(store)

    def fill(sql: Connection) -> None:
        first = end.version + 1
        rows = [{"version": first + n, "name": f"principal/key_{n}"} for n in range(KEPT)]
        sql.execute(INVALIDATIONS.insert(), rows)
        sql.execute(LOG_END.update().values(version=end.version + KEPT))
        for number in range(3):
            append(sql, f"principal/late_{number}")

    await store._database.write(fill)
    log = await store.invalidations(0)
    assert log.end == replace(end, version=end.version + KEPT + 3)
    assert len(log.changes) == KEPT
    assert log.changes[-1].name == "principal/late_2"
    assert not log.follows(end)
    await store.close()


@every_engine
async def test_a_store_of_the_first_revision_gets_a_log(place: str) -> None:
    metadata = ACCOUNTS.metadata.__class__()
    for table in (ACCOUNTS, API_KEYS):
        table.to_metadata(metadata)
    old = Database.open(place, metadata, "auth", revision="0001")
    await old.write(lambda sql: sql.execute(ACCOUNTS.insert().values(**vars_of(ALICE))))
    await old.close()
    store = SqlStore.open(place)
    await store.add_key(KEY)
    await store.revoke_key("key_1", 7_000)
    log = await store.invalidations(0)
    assert (len(log.end.epoch), log.end.version, len(log.changes)) == (32, 2, 1)
    assert await store.accounts() == [ALICE]
    await store.close()


def vars_of(account: Account) -> dict[str, object]:
    return {name: getattr(account, name) for name in Account.__dataclass_fields__}


@pytest.mark.servers
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
async def test_replicas_number_their_changes_in_one_row(place: str) -> None:
    replicas = [await furnished(SqlStore.open(place)), SqlStore.open(place)]
    for number in range(40):
        await replicas[0].add_key(replace(KEY, id=f"key_{number}", public_id=f"{number:016}"))
    start = await end_of(replicas[0])
    # Each key is revoked at both, in opposite orders: one of the two calls does it.
    calls = [replicas[0].revoke_key(f"key_{number}", 7_000) for number in range(40)]
    calls += [replicas[1].revoke_key(f"key_{number}", 7_000) for number in reversed(range(40))]
    with capture_logs() as logs:
        assert sum(await asyncio.gather(*calls)) == 40
    assert logs == []  # they queued for the log, and met in no deadlock
    log = await replicas[1].invalidations(start.version)
    assert [each.version for each in log.changes] == list(range(start.version + 1, start.version + 41))
    assert {each.name for each in log.changes} == {f"principal/key_{number}" for number in range(40)}
    for replica in replicas:
        await replica.close()
