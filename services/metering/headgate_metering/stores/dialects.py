"""Where the databases differ: how a list of ids is bound, how rows are added in bulk, how writers of several
processes take turns, and what time it is there."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cache

import orjson
from sqlalchemy import Column, ColumnElement, Connection, Table, bindparam, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from headgate_database import insert

Rows = Sequence[tuple[object, ...]]


class Dialect(ABC):
    """One kind of database."""

    @abstractmethod
    def among(self, column: Column[str]) -> ColumnElement[bool]:
        """Whether the column is one of the bound `ids`: one value however many they are, so that the statement
        is always the same."""

    @abstractmethod
    def ids(self, ids: Collection[str]) -> object:
        """What is bound as `ids`."""

    @abstractmethod
    def compiled(self, statement: ClauseElement) -> str:
        """The statement for `exec_driver_sql`, values by position."""

    @abstractmethod
    def take_turn(self, connection: Connection, name: str) -> None:
        """Wait until no other process is in the turn `name`; the turn ends with the transaction."""

    @abstractmethod
    def add_rows(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Add rows of all columns in their order; yes and no as 1 and 0."""

    @abstractmethod
    def now_ms(self, connection: Connection) -> int:
        """The time of the database's machine, milliseconds since the Unix epoch."""


class SqliteDialect(Dialect):
    """SQLite, of one process: its writer holds the file's lock from the beginning of each transaction."""

    def among(self, column: Column[str]) -> ColumnElement[bool]:
        """See Dialect."""
        return column.in_(select(func.json_each(bindparam("ids")).table_valued("value").c.value))

    def ids(self, ids: Collection[str]) -> object:
        """See Dialect."""
        return orjson.dumps(list(ids)).decode()

    def compiled(self, statement: ClauseElement) -> str:
        """See Dialect."""
        return str(statement.compile(dialect=sqlite.dialect()))

    def take_turn(self, connection: Connection, name: str) -> None:
        """See Dialect."""

    def add_rows(self, connection: Connection, table: Table, rows: Rows) -> None:
        """See Dialect."""
        connection.exec_driver_sql(_insert_all(table), list(rows))

    def now_ms(self, connection: Connection) -> int:
        """See Dialect."""
        days = "julianday('now') - 2440587.5"
        return int(connection.exec_driver_sql(f"SELECT ({days}) * 86400000").scalar_one())


@cache
def _insert_all(table: Table) -> str:
    return SQLITE.compiled(insert(table))


SQLITE = SqliteDialect()


def dialect_of(connection: Connection) -> Dialect:
    """The dialect that a connection speaks."""
    return SQLITE if connection.dialect.name == "sqlite" else _postgres()


@cache
def _postgres() -> Dialect:
    # Loaded only where it is used: its driver is an optional dependency.
    from headgate_metering.stores.postgres_dialect import PostgresDialect  # noqa: PLC0415

    return PostgresDialect()
