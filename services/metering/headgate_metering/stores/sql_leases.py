"""Leases in SQL: one row for each bucket, read and written in the transaction of the grant."""

import json
from collections.abc import Callable, Collection, MutableMapping
from functools import cache
from typing import TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    delete,
    func,
    select,
)

from headgate_database import Database, Location, insert
from headgate_leases.bucket import Level
from headgate_metering.buckets import Bucket, Lease
from headgate_metering.steady_time import SteadyTime
from headgate_metering.stores.access import read, write
from headgate_metering.stores.dialects import Dialect, dialect_of

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

_insert = insert(BUCKETS)
_UPSERT = _insert.on_conflict_do_update(
    index_elements=[BUCKETS.c.bucket_id],
    set_={column.name: _insert.excluded[column.name] for column in BUCKETS.columns if not column.primary_key},
)


class SqlLeaseStore:
    """Buckets in a database. Without a `time` the database's own counts, as it must where several processes share
    it. SQLite may lose the last grants with the power; their units were spent, or lapse, within seconds."""

    def __init__(self, database: Database, time: SteadyTime | None = None) -> None:
        self._database = database
        self._time = time

    @classmethod
    def open(
        cls, location: Location, time: SteadyTime | None = None, timeout_s: float = 3.0
    ) -> "SqlLeaseStore":
        """Opens or makes the store at a path or URL; on PostgreSQL no statement takes longer than `timeout_s`
        seconds. Blocks. Raises StoreError."""
        database = Database.open(
            location, METADATA, "metering_leases", synchronous="NORMAL", timeout_s=timeout_s
        )
        return cls(database, time)

    async def update(
        self, bucket_ids: Collection[str], change: Callable[[MutableMapping[str, Bucket], int], T]
    ) -> T:
        """See LeaseStore."""

        def run(connection: Connection) -> T:
            # Not row by row: the first grant of a bucket has no row yet that could be locked.
            dialect_of(connection).take_turn(connection, "leases")
            buckets = _load(connection, bucket_ids)
            result = change(buckets, self._now_ms(connection))
            if buckets:
                connection.execute(_UPSERT, [_row(each, bucket) for each, bucket in buckets.items()])
            return result

        return await write(self._database, run)

    def _now_ms(self, connection: Connection) -> int:
        return self._time.now_ms() if self._time else dialect_of(connection).now_ms(connection)

    async def forget(self) -> int:
        """See LeaseStore."""

        def run(connection: Connection) -> int:
            dialect_of(connection).take_turn(connection, "leases")
            idle = delete(BUCKETS).where(BUCKETS.c.keep_until_ms < self._now_ms(connection))
            return connection.execute(idle).rowcount

        return await write(self._database, run)

    async def count(self) -> int:
        """See LeaseStore."""
        query = select(func.count()).select_from(BUCKETS)
        return await read(self._database, lambda connection: int(connection.execute(query).scalar_one()))

    async def close(self) -> None:
        """See LeaseStore."""
        await self._database.close()


def _load(connection: Connection, bucket_ids: Collection[str]) -> dict[str, Bucket]:
    dialect = dialect_of(connection)
    rows = connection.execute(_known(dialect), {"ids": dialect.ids(bucket_ids)})
    return {row.bucket_id: _bucket(row) for row in rows}


@cache
def _known(dialect: Dialect) -> Select[tuple[object, ...]]:
    return select(BUCKETS).where(dialect.among(BUCKETS.c.bucket_id))


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
