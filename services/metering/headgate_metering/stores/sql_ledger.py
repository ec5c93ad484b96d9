"""The ledger in SQL. Each batch is one function on the writer thread: read what is known of its calls, decide
(booking.py), write. The primary keys hold even if that decision were wrong."""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import groupby

from sqlalchemy import Connection, Table, event, insert, select, tuple_
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError

from headgate_database import Database, Location
from headgate_metering.booking import Changes, Known, book, call_ids, expire
from headgate_metering.store import Page, UnusableBatchError
from headgate_metering.stores import ledger_tables as tables
from headgate_metering.stores.access import read, write
from headgate_metering.stores.daily_usage import add_usage, sum_usage
from headgate_metering.stores.dialects import dialect_of
from headgate_metering.stores.ledger_statements import Statements, statements_of
from headgate_metering.stores.ledger_tables import ADJUSTMENTS, DEAD_LETTERS, LEDGER, OPEN_CALLS, PRODUCERS
from headgate_metering.stores.partitions import DEFAULT, make_partitions
from headgate_metering.usage_event import (
    Adjustment,
    Batch,
    DeadLetter,
    OpenCall,
    Settlement,
    Usage,
    corrected,
)

event.listen(LEDGER, "after_create", DEFAULT)

_OPEN = select(OPEN_CALLS.c.producer_id).distinct().subquery()
_BEATS_OF_OPEN_CALLS = select(_OPEN.c.producer_id, PRODUCERS.c.beats).outerjoin_from(
    _OPEN, PRODUCERS, _OPEN.c.producer_id == PRODUCERS.c.producer_id
)


class SqlLedgerStore:
    """The ledger in a database that keeps every commit over a loss of power."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: Location, timeout_s: float = 3.0) -> "SqlLedgerStore":
        """Opens or makes the ledger at a path or URL; on PostgreSQL no statement takes longer than `timeout_s`
        seconds. Blocks. Raises StoreError."""
        database = Database.open(
            location, tables.METADATA, "metering", synchronous="FULL", timeout_s=timeout_s
        )
        return cls(database)

    async def record(self, batch: Batch) -> None:
        """See LedgerStore."""
        try:
            await write(self._database, lambda connection: _record(connection, batch))
        except (DataError, IntegrityError, InterfaceError, OverflowError) as fault:
            raise UnusableBatchError(_reason(fault)) from fault

    async def producers(self) -> Mapping[str, int]:
        """See LedgerStore."""
        rows = await read(self._database, lambda connection: connection.execute(_BEATS_OF_OPEN_CALLS).all())
        return {producer_id: beats or 0 for producer_id, beats in rows}

    async def expire(
        self, silent: Mapping[str, int], settle: Callable[[OpenCall], Settlement], limit: int
    ) -> int:
        """See LedgerStore."""

        def run(connection: Connection) -> int:
            _turn(connection)
            quiet = [each for each, beats in silent.items() if _beats(connection, each) == beats]
            query = select(OPEN_CALLS).where(OPEN_CALLS.c.producer_id.in_(quiet)).limit(limit)
            found = [tables.open_call_of(row) for row in connection.execute(query)]
            known = _known(connection, [each.call.call_id for each in found])
            _apply(connection, expire(found, settle, known))
            return len(found)

        return await write(self._database, run)

    async def usage(self, account_id: str, start_ms: int, end_ms: int) -> Mapping[str, Usage]:
        """See LedgerStore."""
        return await read(
            self._database, lambda connection: sum_usage(connection, account_id, start_ms, end_ms)
        )

    async def records(self, account_id: str, after: Page | None, limit: int) -> list[Settlement]:
        """See LedgerStore."""
        place = tuple_(LEDGER.c.started_at_ms, LEDGER.c.call_id)
        query = select(LEDGER).where(LEDGER.c.account_id == account_id)
        if after is not None:
            query = query.where(place < (after.started_at_ms, after.call_id))
        query = query.order_by(LEDGER.c.started_at_ms.desc(), LEDGER.c.call_id.desc()).limit(limit)
        return await read(
            self._database, lambda connection: _corrected(connection, connection.execute(query))
        )

    async def record_of(self, account_id: str, call_id: str) -> Settlement | None:
        """See LedgerStore."""
        query = select(LEDGER).where(LEDGER.c.call_id == call_id, LEDGER.c.account_id == account_id)
        found = await read(
            self._database, lambda connection: _corrected(connection, connection.execute(query))
        )
        return found[0] if found else None

    async def open_calls(self) -> list[OpenCall]:
        """See LedgerStore."""
        query = select(OPEN_CALLS).order_by(OPEN_CALLS.c.call_id)
        return await read(
            self._database, lambda connection: [tables.open_call_of(row) for row in connection.execute(query)]
        )

    async def adjustments(self, call_id: str) -> list[Adjustment]:
        """See LedgerStore."""
        found = await read(self._database, lambda connection: _adjustments(connection, [call_id]))
        return list(found.get(call_id, ()))

    async def dead_letters(self) -> list[DeadLetter]:
        """See LedgerStore."""
        query = select(DEAD_LETTERS).order_by(DEAD_LETTERS.c.digest)
        return await read(
            self._database, lambda connection: [tables.letter_of(row) for row in connection.execute(query)]
        )

    async def prepare(self, now_ms: int) -> None:
        """See LedgerStore."""

        def run(connection: Connection) -> None:
            if connection.dialect.name == "postgresql":
                _turn(connection)
                make_partitions(connection, now_ms)

        await write(self._database, run)

    async def close(self) -> None:
        """See LedgerStore."""
        await self._database.close()


def _reason(fault: Exception) -> str:
    # The driver's words alone: SQLAlchemy adds the statement and its values.
    return " ".join(str(fault.orig if isinstance(fault, DBAPIError) else fault).split())


def _turn(connection: Connection) -> Statements:
    """What two replicas know of a call, decide and write must not overlap."""
    sql = statements_of(dialect_of(connection))
    sql.dialect.take_turn(connection, "ledger")
    return sql


def _record(connection: Connection, batch: Batch) -> None:
    sql = _turn(connection)
    ids = call_ids(batch)
    if ids:
        _apply(connection, book(batch, _known(connection, ids)))
    if batch.dead_letters:
        connection.execute(sql.bury, [tables.letter_values(each) for each in batch.dead_letters])
    connection.exec_driver_sql(sql.beat, (batch.producer_id,))


def _beats(connection: Connection, producer_id: str) -> int:
    query = select(PRODUCERS.c.beats).where(PRODUCERS.c.producer_id == producer_id)
    return connection.execute(query).scalar_one_or_none() or 0


def _known(connection: Connection, ids: Collection[str]) -> Known:
    """Most calls are new to the ledger: one look finds the few that are not, and only those are read."""
    sql = statements_of(dialect_of(connection))
    seen: dict[str, list[str]] = {table: [] for table in sql.places}
    for table, call_id in connection.exec_driver_sql(sql.find, (sql.dialect.ids(ids),) * len(seen)):
        seen[table].append(call_id)
    settled = _rows_of(connection, sql, LEDGER, seen)
    open_calls = _rows_of(connection, sql, OPEN_CALLS, seen)
    return Known(
        settled={row.call_id: tables.settlement_of(row) for row in settled},
        open_calls={row.call_id: tables.open_call_of(row) for row in open_calls},
        adjustments=_adjustments(connection, seen[ADJUSTMENTS.name]),
    )


def _rows_of(
    connection: Connection, sql: Statements, table: Table, seen: Mapping[str, list[str]]
) -> Iterable[tables.AnyRow]:
    ids = seen[table.name]
    return connection.execute(sql.read[table.name], {"ids": sql.dialect.ids(ids)}) if ids else ()


def _adjustments(connection: Connection, ids: Collection[str]) -> dict[str, tuple[Adjustment, ...]]:
    if not ids:
        return {}
    sql = statements_of(dialect_of(connection))
    rows = connection.execute(sql.read[ADJUSTMENTS.name], {"ids": sql.dialect.ids(ids)})
    found = [tables.adjustment_of(row) for row in rows]
    return {call_id: tuple(each) for call_id, each in groupby(found, key=lambda each: each.call_id)}


def _apply(connection: Connection, changes: Changes) -> None:
    sql = statements_of(dialect_of(connection))
    if changes.settlements:
        rows = [tables.settlement_row(each) for each in changes.settlements.values()]
        sql.dialect.add_rows(connection, LEDGER, rows)
    if changes.adjustments:
        corrections = [tables.adjustment_values(each) for each in changes.adjustments.values()]
        connection.execute(insert(ADJUSTMENTS), corrections)
    if changes.opened:
        opened = [tables.open_call_values(each) for each in changes.opened.values()]
        connection.execute(sql.open, opened)
    if changes.closed:
        connection.exec_driver_sql(sql.close, (sql.dialect.ids(changes.closed),))
    add_usage(connection, sql.dialect, changes.usage)


def _corrected(connection: Connection, rows: Iterable[tables.AnyRow]) -> list[Settlement]:
    settlements = [tables.settlement_of(row) for row in rows]
    adjustments = _adjustments(connection, [each.call.call_id for each in settlements])
    return [corrected(each, adjustments.get(each.call.call_id, ())) for each in settlements]
