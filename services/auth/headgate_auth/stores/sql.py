"""The store in SQL."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.invalidation import Log, Mark
from headgate_auth.store import DuplicateError
from headgate_auth.stores.log import CHANNEL, append, lock_log, read_end, read_log
from headgate_auth.stores.tables import ACCOUNTS, API_KEYS, METADATA
from headgate_database import TIMEOUT_S, Database, Location

_MIGRATIONS = Path(__file__).parent.parent / "migrations"


class SqlStore:
    """Keeps everything in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: Location, timeout_s: float = TIMEOUT_S) -> "SqlStore":
        """Opens the store at a path or URL; on PostgreSQL it may be away, and no statement takes longer than
        `timeout_s`. Blocks. Raises StoreError."""
        # FULL: a revocation that was answered must outlast a loss of power.
        return cls(
            Database.open(
                location,
                METADATA,
                "auth",
                "FULL",
                revision="0002",
                migrations=_MIGRATIONS,
                timeout_s=timeout_s,
            )
        )

    async def add_account(self, account: Account) -> None:
        """Store.add_account."""
        await self._insert(lambda sql: sql.execute(ACCOUNTS.insert().values(asdict(account))), account.id)

    async def account(self, account_id: str) -> Account | None:
        """Store.account."""
        query = select(ACCOUNTS).where(ACCOUNTS.c.id == _storable(account_id))
        row = await self._database.read(lambda sql: sql.execute(query).mappings().one_or_none())
        return _account(row) if row else None

    async def accounts(self) -> list[Account]:
        """Store.accounts."""
        query = select(ACCOUNTS).order_by(ACCOUNTS.c.created_at_ms, ACCOUNTS.c.id)
        return [
            _account(row)
            for row in await self._database.read(lambda sql: sql.execute(query).mappings().all())
        ]

    async def add_key(self, key: ApiKey) -> None:
        """Store.add_key."""
        await self._insert(lambda sql: sql.execute(API_KEYS.insert().values(asdict(key))), key.id)

    async def replace_key(self, key: ApiKey) -> None:
        """Store.replace_key."""

        def replace(sql: Connection) -> None:
            lock_log(sql)
            old = sql.execute(select(API_KEYS.c.digest).where(API_KEYS.c.id == key.id)).scalar_one_or_none()
            if old == key.digest:
                return
            if old is not None:
                sql.execute(API_KEYS.delete().where(API_KEYS.c.id == key.id))
                append(sql, f"principal/{key.id}")
            sql.execute(API_KEYS.insert().values(asdict(key)))

        await self._insert(replace, key.id)

    async def key(self, key_id: str) -> ApiKey | None:
        """Store.key."""
        query = select(API_KEYS).where(API_KEYS.c.id == _storable(key_id))
        row = await self._database.read(lambda sql: sql.execute(query).mappings().one_or_none())
        return _key(row) if row else None

    async def find_key(self, public_id: str) -> tuple[ApiKey, Account, Mark] | None:
        """Store.find_key."""

        def find(sql: Connection) -> tuple[ApiKey, Account, Mark] | None:
            key = (
                sql.execute(select(API_KEYS).where(API_KEYS.c.public_id == public_id))
                .mappings()
                .one_or_none()
            )
            if key is None:
                return None
            owner = sql.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == key["account_id"])).mappings().one()
            return _key(key), _account(owner), read_end(sql)

        return await self._database.read(find)

    async def keys(self, account_id: str) -> list[ApiKey]:
        """Store.keys."""
        query = (
            select(API_KEYS)
            .where(API_KEYS.c.account_id == _storable(account_id))
            .order_by(API_KEYS.c.created_at_ms.desc(), API_KEYS.c.id)
        )
        return [
            _key(row) for row in await self._database.read(lambda sql: sql.execute(query).mappings().all())
        ]

    async def revoke_key(self, key_id: str, now_ms: int) -> bool:
        """Store.revoke_key."""
        change = (
            API_KEYS.update()
            .where(API_KEYS.c.id == _storable(key_id), API_KEYS.c.revoked_at_ms == 0)
            .values(revoked_at_ms=now_ms)
        )

        def revoke(sql: Connection) -> bool:
            lock_log(sql)
            changed = sql.execute(change).rowcount == 1
            if changed:
                append(sql, f"principal/{key_id}")
            return changed

        return await self._database.write(revoke)

    async def invalidations(self, after: int) -> Log:
        """Store.invalidations."""
        return await self._database.read(lambda sql: read_log(sql, after))

    def listen(self, wake: Callable[[], None]) -> bool:
        """Store.listen."""
        return self._database.listen(CHANNEL, wake)

    async def touch_keys(self, used_at_ms: Mapping[str, int]) -> None:
        """Store.touch_keys."""
        if not used_at_ms:
            return
        change = (
            API_KEYS.update()
            .where(API_KEYS.c.id == bindparam("key"), API_KEYS.c.last_used_at_ms < bindparam("moment"))
            .values(last_used_at_ms=bindparam("moment"))
        )
        rows = [{"key": key_id, "moment": moment} for key_id, moment in sorted(used_at_ms.items())]
        await self._database.write(lambda sql: sql.execute(change, rows))

    async def close(self) -> None:
        """Store.close."""
        await self._database.close()

    async def _insert(self, insert: Callable[[Connection], object], name: str) -> None:
        try:
            await self._database.write(insert)
        except IntegrityError:
            raise DuplicateError(name) from None


def _storable(text: str) -> str:
    """Ids of ours hold no NUL; PostgreSQL refuses to look for one that does."""
    return text.replace("\0", "\ufffd")


def _account(row: RowMapping) -> Account:
    return Account(
        id=row["id"],
        name=row["name"],
        plan=row["plan"],
        created_at_ms=row["created_at_ms"],
        ip_allow_list=tuple(row["ip_allow_list"]),
    )


def _key(row: RowMapping) -> ApiKey:
    values = dict(row)
    for lists in ("scopes", "models", "ip_allow_list"):
        values[lists] = tuple(values[lists])
    return ApiKey(**values)
