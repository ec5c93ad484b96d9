"""Leases in SQL: one row for each bucket, read and written in the transaction of the grant."""

import json
from collections.abc import Callable, Collection, Iterable, MutableMapping
from pathlib import Path
from typing import TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from headgate_database import Database
from headgate_leases.bucket import Level
from headgate_metering.buckets import Bucket, Lease

T = TypeVar("T")

METADATA = MetaData()

BUCKETS = Table(
    "lease_buckets",
    METADATA,
    Column("bucket_id", Text, primary_key=True),
    Column("missing", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("fencing", BigInteger, nullable=False),
    # Read and written whole, never searched: [[holder_id, units, expires_at_ms], …]
    Column("leases", Text, nullable=False),
    Column("keep_until_ms", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

_KNOWN = select(BUCKETS).where(BUCKETS.c.bucket_id.in_(bindparam("ids", expanding=True)))
_insert = insert(BUCKETS)
_UPSERT = _insert.on_conflict_do_update(
    index_elements=[BUCKETS.c.bucket_id],
    set_={column.name: _insert.excluded[column.name] for column in BUCKETS.columns if not column.primary_key},
)


class SqlLeaseStore:
    """Buckets in a database. After a loss of power the last grants may be missing; their units were spent, or
    lapse, within seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: str | Path) -> "SqlLeaseStore":
        """Opens or makes the store at a path or URL. Blocks. Raises StoreError."""
        return cls(Database.open(location, METADATA, "leases", synchronous="NORMAL"))

    async def update(
        self, bucket_ids: Collection[str], change: Callable[[MutableMapping[str, Bucket]], T]
    ) -> T:
        """See LeaseStore."""

        def run(connection: Connection) -> T:
            buckets = _load(connection, bucket_ids)
            result = change(buckets)
            if buckets:
                connection.execute(_UPSERT, [_row(each, bucket) for each, bucket in buckets.items()])
            return result

        return await self._database.write(run)

    async def forget(self, now_ms: int) -> int:
        """See LeaseStore."""
        idle = delete(BUCKETS).where(BUCKETS.c.keep_until_ms < now_ms)
        return await self._database.write(lambda connection: connection.execute(idle).rowcount)

    async def count(self) -> int:
        """See LeaseStore."""
        query = select(func.count()).select_from(BUCKETS)
        return await self._database.read(lambda connection: int(connection.execute(query).scalar_one()))

    async def close(self) -> None:
        """See LeaseStore."""
        await self._database.close()


def _load(connection: Connection, bucket_ids: Iterable[str]) -> dict[str, Bucket]:
    rows = connection.execute(_KNOWN, {"ids": list(bucket_ids)})
    return {row.bucket_id: _bucket(row) for row in rows}


def _bucket(row: Row[tuple[object, ...]]) -> Bucket:
    leases = tuple(Lease(*each) for each in json.loads(row.leases))
    return Bucket(Level(row.missing, row.at_ms), row.fencing, leases, row.keep_until_ms)


def _row(bucket_id: str, bucket: Bucket) -> dict[str, object]:
    leases = [[each.holder_id, each.units, each.expires_at_ms] for each in bucket.leases]
    return {
        "bucket_id": bucket_id,
        "missing": bucket.level.missing,
        "at_ms": bucket.level.at_ms,
        "fencing": bucket.fencing,
        "leases": json.dumps(leases),
        "keep_until_ms": bucket.keep_until_ms,
    }
