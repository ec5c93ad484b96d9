"""The ledger in SQL. Each batch is one function on the writer thread: read what is known of its calls, decide
(booking.py), write. The primary keys hold even if that decision were wrong."""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from sqlalchemy import BindParameter, Connection, bindparam, delete, select, tuple_
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError

from headgate_database import Database
from headgate_metering.booking import Changes, Known, book, call_ids, expire
from headgate_metering.store import Page, UnusableBatchError
from headgate_metering.stores import ledger_tables as tables
from headgate_metering.stores.daily_usage import add_usage, sum_usage
from headgate_metering.stores.ledger_tables import ADJUSTMENTS, DEAD_LETTERS, LEDGER, OPEN_CALLS, PRODUCERS
from headgate_metering.usage_event import (
    Adjustment,
    Batch,
    DeadLetter,
    OpenCall,
    Settlement,
    Usage,
    corrected,
)

_beat = insert(PRODUCERS).values(beats=1)
_BEAT = _beat.on_conflict_do_update(
    index_elements=[PRODUCERS.c.producer_id], set_={"beats": PRODUCERS.c.beats + 1}
)
_open = insert(OPEN_CALLS)
_UPSERT_OPEN = _open.on_conflict_do_update(
    index_elements=[OPEN_CALLS.c.call_id],
    set_={
        column.name: _open.excluded[column.name] for column in OPEN_CALLS.columns if not column.primary_key
    },
)
# Past SQLAlchemy's own executemany: for rows this wide it costs 10 µs each, twice what SQLite takes.
_SETTLE = insert(LEDGER).compile(dialect=sqlite.dialect())
_IN_ORDER = itemgetter(*(_SETTLE.positiontup or ()))
_BURY = insert(DEAD_LETTERS).on_conflict_do_nothing()

# Made once: making them anew costs more than running them.
_IDS: BindParameter[object] = bindparam("ids", expanding=True)
_SETTLED = select(LEDGER).where(LEDGER.c.call_id.in_(_IDS))
_OPENED = select(OPEN_CALLS).where(OPEN_CALLS.c.call_id.in_(_IDS))
_ADJUSTED = (
    select(ADJUSTMENTS)
    .where(ADJUSTMENTS.c.call_id.in_(_IDS))
    .order_by(ADJUSTMENTS.c.call_id, ADJUSTMENTS.c.source)
)
_CLOSE = delete(OPEN_CALLS).where(OPEN_CALLS.c.call_id.in_(_IDS))


class SqlLedgerStore:
    """The ledger in a database that keeps every commit over a loss of power."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: str | Path) -> "SqlLedgerStore":
        """Opens or makes the ledger at a path or URL. Blocks. Raises StoreError."""
        return cls(Database.open(location, tables.METADATA, "metering", synchronous="FULL"))

    async def record(self, batch: Batch) -> None:
        """See LedgerStore."""
        try:
            await self._database.write(lambda connection: _record(connection, batch))
        except (DataError, IntegrityError, InterfaceError, OverflowError) as fault:
            raise UnusableBatchError(str(fault)) from fault

    async def producers(self) -> Mapping[str, int]:
        """See LedgerStore."""
        producers = select(OPEN_CALLS.c.producer_id).distinct().subquery()
        query = select(producers.c.producer_id, PRODUCERS.c.beats).outerjoin_from(
            producers, PRODUCERS, producers.c.producer_id == PRODUCERS.c.producer_id
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {producer_id: beats or 0 for producer_id, beats in rows}

    async def expire(
        self, producers: Collection[str], settle: Callable[[OpenCall], Settlement], limit: int
    ) -> int:
        """See LedgerStore."""
        query = select(OPEN_CALLS).where(OPEN_CALLS.c.producer_id.in_(list(producers))).limit(limit)

        def run(connection: Connection) -> int:
            found = [tables.open_call_of(row) for row in connection.execute(query)]
            known = _known(connection, [each.call.call_id for each in found])
            _apply(connection, expire(found, settle, known))
            return len(found)

        return await self._database.write(run)

    async def usage(self, account_id: str, start_ms: int, end_ms: int) -> Mapping[str, Usage]:
        """See LedgerStore."""
        return await self._database.read(
            lambda connection: sum_usage(connection, account_id, start_ms, end_ms)
        )

    async def records(self, account_id: str, after: Page | None, limit: int) -> list[Settlement]:
        """See LedgerStore."""
        place = tuple_(LEDGER.c.started_at_ms, LEDGER.c.call_id)
        query = select(LEDGER).where(LEDGER.c.account_id == account_id)
        if after is not None:
            query = query.where(place < (after.started_at_ms, after.call_id))
        query = query.order_by(LEDGER.c.started_at_ms.desc(), LEDGER.c.call_id.desc()).limit(limit)
        return await self._database.read(lambda connection: _corrected(connection, connection.execute(query)))

    async def record_of(self, account_id: str, call_id: str) -> Settlement | None:
        """See LedgerStore."""
        query = select(LEDGER).where(LEDGER.c.call_id == call_id, LEDGER.c.account_id == account_id)
        found = await self._database.read(
            lambda connection: _corrected(connection, connection.execute(query))
        )
        return found[0] if found else None

    async def open_calls(self) -> list[OpenCall]:
        """See LedgerStore."""
        query = select(OPEN_CALLS).order_by(OPEN_CALLS.c.call_id)
        return await self._database.read(
            lambda connection: [tables.open_call_of(row) for row in connection.execute(query)]
        )

    async def adjustments(self, call_id: str) -> list[Adjustment]:
        """See LedgerStore."""
        found = await self._database.read(lambda connection: _adjustments(connection, [call_id]))
        return list(found.get(call_id, ()))

    async def dead_letters(self) -> list[DeadLetter]:
        """See LedgerStore."""
        query = select(DEAD_LETTERS).order_by(DEAD_LETTERS.c.digest)
        return await self._database.read(
            lambda connection: [tables.letter_of(row) for row in connection.execute(query)]
        )

    async def close(self) -> None:
        """See LedgerStore."""
        await self._database.close()


def _record(connection: Connection, batch: Batch) -> None:
    ids = call_ids(batch)
    if ids:
        _apply(connection, book(batch, _known(connection, ids)))
    if batch.dead_letters:
        connection.execute(_BURY, [tables.letter_values(each) for each in batch.dead_letters])
    connection.execute(_BEAT, {"producer_id": batch.producer_id})


def _known(connection: Connection, ids: Iterable[str]) -> Known:
    wanted = list(ids)
    settled = connection.execute(_SETTLED, {"ids": wanted})
    open_calls = connection.execute(_OPENED, {"ids": wanted})
    return Known(
        settled={row.call_id: tables.settlement_of(row) for row in settled},
        open_calls={row.call_id: tables.open_call_of(row) for row in open_calls},
        adjustments=_adjustments(connection, wanted),
    )


def _adjustments(connection: Connection, ids: Collection[str]) -> dict[str, tuple[Adjustment, ...]]:
    found = [tables.adjustment_of(row) for row in connection.execute(_ADJUSTED, {"ids": list(ids)})]
    return {call_id: tuple(each) for call_id, each in groupby(found, key=lambda each: each.call_id)}


def _apply(connection: Connection, changes: Changes) -> None:
    if changes.settlements:
        _insert_settlements(connection, changes.settlements.values())
    if changes.adjustments:
        rows = [tables.adjustment_values(each) for each in changes.adjustments.values()]
        connection.execute(insert(ADJUSTMENTS), rows)
    if changes.opened:
        connection.execute(_UPSERT_OPEN, [tables.open_call_values(each) for each in changes.opened.values()])
    if changes.closed:
        connection.execute(_CLOSE, {"ids": list(changes.closed)})
    add_usage(connection, changes.usage)


def _insert_settlements(connection: Connection, settlements: Iterable[Settlement]) -> None:
    rows = [_IN_ORDER(tables.settlement_values(each)) for each in settlements]
    connection.exec_driver_sql(str(_SETTLE), rows)


def _corrected(connection: Connection, rows: Iterable[tables.AnyRow]) -> list[Settlement]:
    settlements = [tables.settlement_of(row) for row in rows]
    adjustments = _adjustments(connection, [each.call.call_id for each in settlements])
    return [corrected(each, adjustments.get(each.call.call_id, ())) for each in settlements]
