"""The statements that every batch runs, made once for each kind of database. Those without typed results are
compiled to strings: SQLAlchemy's own execution of one costs as much as ten rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Executable, Select, Table, Text, cast, delete, literal_column, select, union_all

from headgate_database import insert
from headgate_metering.stores.dialects import Dialect
from headgate_metering.stores.ledger_tables import ADJUSTMENTS, DEAD_LETTERS, LEDGER, OPEN_CALLS, PRODUCERS

_PLACES = (LEDGER, OPEN_CALLS, ADJUSTMENTS)


@dataclass(frozen=True, slots=True)
class Statements:
    """`find` tells in which of the tables `places` calls are known (bind the ids once for each), `read` reads
    their rows."""

    dialect: Dialect
    places: tuple[str, ...]
    find: str
    read: Mapping[str, Select[tuple[object, ...]]]
    beat: str
    open: Executable
    close: str
    bury: Executable


@cache
def statements_of(dialect: Dialect) -> Statements:
    """The statements for a kind of database."""
    return Statements(
        dialect=dialect,
        places=tuple(table.name for table in _PLACES),
        find=dialect.compiled(union_all(*(_find(dialect, table) for table in _PLACES))),
        read={table.name: _read(dialect, table) for table in _PLACES},
        beat=_beat(dialect),
        open=_open(),
        close=dialect.compiled(delete(OPEN_CALLS).where(dialect.among(OPEN_CALLS.c.call_id))),
        bury=insert(DEAD_LETTERS).on_conflict_do_nothing(),
    )


def _find(dialect: Dialect, table: Table) -> Select[str, str]:
    place = literal_column(f"'{table.name}'", Text)
    # A call may have several adjustments; it is named once for each.
    return select(place, cast(table.c.call_id, Text)).where(dialect.among(table.c.call_id))


def _read(dialect: Dialect, table: Table) -> Select[tuple[object, ...]]:
    return select(table).where(dialect.among(table.c.call_id)).order_by(*table.primary_key.columns)


def _beat(dialect: Dialect) -> str:
    first = insert(PRODUCERS).values(producer_id=None, beats=literal_column("1"))
    more = {"beats": PRODUCERS.c.beats + literal_column("1")}
    return dialect.compiled(first.on_conflict_do_update(index_elements=[PRODUCERS.c.producer_id], set_=more))


def _open() -> Executable:
    row = insert(OPEN_CALLS)
    news = {column.name: row.excluded[column.name] for column in OPEN_CALLS.columns if not column.primary_key}
    return row.on_conflict_do_update(index_elements=[OPEN_CALLS.c.call_id], set_=news)
