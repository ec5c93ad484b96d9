"""PostgreSQL: connections that never wait for ever, in one schema for each service."""

import time
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, QueuePool

from headgate_database.errors import StoreAwayError, StoreError
from headgate_database.revision import Revision, settle, stamp_of
from headgate_settings import Secret

RV = TypeVar("RV")

# The least that libpq and psycopg wait for a connection, in seconds.
CONNECT_S = 2
# The server's own timers end a statement first; beyond this margin the server is taken for dead.
MARGIN_S = 0.5
# Making and changing tables may take longer than any call.
SETTLE_S = 60.0


class SilenceError(psycopg.OperationalError):
    """A server that took the statement and says nothing."""

    sqlstate = "08006"


class BoundedConnection(psycopg.Connection[Any]):
    """Waits `limit_s` for each answer and then hangs up. The server's `statement_timeout` is no help against a
    server that is stopped or cut off, nor are TCP's timers when its kernel still acknowledges."""

    limit_s = SETTLE_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """psycopg.Connection.wait, with an end."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        start = time.monotonic()
        try:
            return super().wait(gen, interval, self.limit_s)
        except psycopg.OperationalError as error:
            if time.monotonic() - start < self.limit_s:
                raise
            self.pgconn.finish()
            raise SilenceError(f"no answer within {self.limit_s:g} s") from error


@dataclass(frozen=True, slots=True)
class Server:
    """The schema of one service on a server. `timeout_s` is the longest that one statement may take."""

    url: Secret
    schema: str
    timeout_s: float

    def __str__(self) -> str:
        parts = self._parts()
        host, port = parts.get("host", "local socket"), parts.get("port", "5432")
        return f"postgresql://{host}:{port}/{parts.get('dbname', '')} schema {self.schema}"

    def _parts(self) -> dict[str, Any]:
        try:
            return dict(conninfo_to_dict(self.url.reveal()))
        except psycopg.ProgrammingError:
            # The parser's message quotes the URL, with its password.
            raise StoreError("The URL of the database is not one of PostgreSQL.") from None

    def engine(self, connections: int, *, writes: bool) -> Engine:
        """An engine with at most so many connections. A writer's transactions are READ COMMITTED, a reader's
        REPEATABLE READ and read only: one consistent view."""

        def connect() -> BoundedConnection:
            connection = self.connect(self.timeout_s)
            if not writes:
                connection.isolation_level = IsolationLevel.REPEATABLE_READ
                connection.read_only = True
            return connection

        return create_engine(
            "postgresql+psycopg://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            use_native_hstore=False,
        )

    def connect(self, statement_s: float) -> BoundedConnection:
        """A connection whose statements take at most `statement_s`. Raises StoreAwayError."""
        defaults: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "application_name": f"headgate-{self.schema}",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": int(self.timeout_s * 1000),
        }
        given = self._parts()
        missing = {name: value for name, value in defaults.items() if name not in given}
        try:
            connection = BoundedConnection.connect(self.url.reveal(), autocommit=True, **missing)
            try:
                _set_up(connection, self, statement_s)
            except BaseException:
                connection.close()
                raise
        except psycopg.OperationalError as error:
            raise StoreAwayError from error
        return connection

    def settle(self, revision: Revision) -> None:
        """Makes the schema and brings it to `revision`; replicas that start together do so one after the other.

        Raises StoreAwayError when no connection can be had, StoreError when the schema cannot be used.
        """
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: self.connect(SETTLE_S),
            poolclass=NullPool,
            use_native_hstore=False,
        )
        try:
            self._make_schema()
            with engine.begin() as connection:
                if stamp_of(connection, str(self)) != revision.head:
                    connection.execute(text(_LOCK.replace("%s", ":schema")), {"schema": self.schema})
                    settle(connection, revision, str(self))
        except (psycopg.DatabaseError, DatabaseError) as error:
            orig = getattr(error, "orig", error)
            if isinstance(orig, psycopg.OperationalError):
                raise StoreAwayError from error
            raise StoreError(f"{self} cannot be opened: {' '.join(str(orig).split())}.") from error

    def _make_schema(self) -> None:
        with self.connect(SETTLE_S) as connection:
            if not connection.execute(_HAS_SCHEMA, (self.schema,)).fetchone():
                connection.execute(_LOCK, (self.schema,))
                name = sql.Identifier(self.schema)
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))


# CREATE SCHEMA IF NOT EXISTS asks for the right to make one even when it exists.
_HAS_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
# Held until the transaction ends.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('headgate ' || %s))"


def _set_up(connection: BoundedConnection, server: Server, statement_s: float) -> None:
    """By statements, not by startup options: poolers pass these on. A process that stops within a transaction
    must not keep its locks from the others."""
    connection.limit_s = statement_s + MARGIN_S
    ms, wait_ms = (str(int(seconds * 1000)) for seconds in (statement_s, server.timeout_s))
    connection.execute(
        "SELECT set_config('search_path', quote_ident(%s), false), set_config('statement_timeout', %s, false),"
        " set_config('lock_timeout', %s, false),"
        " set_config('idle_in_transaction_session_timeout', %s, false)",
        (server.schema, ms, wait_ms, ms),
    )
    connection.autocommit = False
    connection.isolation_level = IsolationLevel.READ_COMMITTED
