"""SQLite engines: WAL, explicit transactions, one connection that writes and several that cannot."""

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

Synchronous = Literal["NORMAL", "FULL"]

BUSY_TIMEOUT_MS = 5000


def writing_engine(path: Path, synchronous: Synchronous) -> Engine:
    """The engine of the one writer. Its transactions take the write lock at once: a transaction that reads
    first and is refused the lock later could not be waited for."""
    pragmas = ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = ON")
    return _engine(path, 1, "BEGIN IMMEDIATE", pragmas)


def reading_engine(path: Path, connections: int) -> Engine:
    """An engine whose connections refuse to write."""
    return _engine(path, connections, "BEGIN", ("query_only = ON",))


def _engine(path: Path, connections: int, begin: str, pragmas: tuple[str, ...]) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )

    def on_connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in (f"busy_timeout = {BUSY_TIMEOUT_MS}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
