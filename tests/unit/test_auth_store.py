"""One behaviour for every backend of auth's store."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.store import DuplicateError, Store
from headgate_auth.stores.memory import MemoryStore
from headgate_auth.stores.sql import SqlStore

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


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else SqlStore.open(tmp_path / "auth.sqlite3")
    await opened.add_account(BOB)
    await opened.add_account(ALICE)
    yield opened
    await opened.close()


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
    assert await store.find_key("AAAAAAAAAAAAAAAA") == (KEY, ALICE)
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
    assert await store.find_key("BBBBBBBBBBBBBBBB") == (new, ALICE)
    other = replace(KEY, id="key_2", public_id="CCCCCCCCCCCCCCCC")
    await store.replace_key(other)
    with pytest.raises(DuplicateError):
        await store.replace_key(replace(other, public_id="BBBBBBBBBBBBBBBB"))
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


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    first = SqlStore.open(tmp_path / "auth.sqlite3")
    await first.add_account(ALICE)
    await first.add_key(KEY)
    await first.close()
    second = SqlStore.open(tmp_path / "auth.sqlite3")
    assert await second.find_key(KEY.public_id) == (KEY, ALICE)
    await second.close()
