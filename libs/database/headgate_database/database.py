"""One service's store: opened, checked, written by one thread and read by a few."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.exc import DatabaseError

from headgate_database.errors import StoreError
from headgate_database.location import Location, postgres_url, private_file, sqlite_path
from headgate_database.presence import Presence
from headgate_database.revision import Revision, settle
from headgate_database.sqlite import Synchronous, reading_engine, writing_engine
from headgate_database.writer import Writer
from headgate_settings import Secret

T = TypeVar("T")

_SQLITE_READERS = 2
_POSTGRES_READERS = 4

# Longest that one statement may take on PostgreSQL, in seconds.
TIMEOUT_S = 3.0


class _Closable(Protocol):
    def close(self) -> None: ...


Listen = Callable[[str, Callable[[], None]], _Closable]


class Database:
    """A store that is open. Close it when done: what was queued is committed first.

    What a service may rely on, on every engine: a function sees all that was committed before it began, and its
    own writes; writes of one process happen one after the other. On PostgreSQL other replicas write at the same
    time (READ COMMITTED): a function that reads a row in order to change it reads it `.with_for_update()`,
    which SQLite leaves out since it has the only writer, or says everything in one statement
    (`headgate_database.insert(…).on_conflict_do_update(…)`). Rows are locked in the order of their keys.
    """

    def __init__(
        self,
        name: str,
        engines: tuple[Engine, Engine],
        readers: int,
        presence: Presence | None = None,
        listen: Listen | None = None,
    ) -> None:
        writing, reading = engines
        self._presence = presence or Presence(name, lambda: None)
        self._listen = listen
        self._listeners: list[_Closable] = []
        self._engines = engines
        self._reading = reading
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix=f"reader-{name}")
        self.writer = Writer(writing, name, self._presence)

    @classmethod
    def open(
        cls,
        location: Location,
        metadata: MetaData,
        schema: str,
        synchronous: Synchronous = "NORMAL",
        *,
        revision: str = "0001",
        migrations: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> "Database":
        """Opens the store of the service `schema` at a path or URL; a fresh one is made from `metadata`.

        `revision` is the shape of `metadata`: the name of the last alembic script in the folder
        `migrations`; without the folder only that revision can be opened. On SQLite, `synchronous` FULL keeps
        every commit over a loss of power, NORMAL may lose the last ones; PostgreSQL always keeps them.
        On PostgreSQL no statement takes longer than `timeout_s`, and the server may be away: then the store is
        looked for until it is there (`opened`), and until then calls raise StoreAwayError.
        Blocks. Raises StoreError when the store cannot be used.
        """
        shape = Revision(metadata, revision, migrations)
        url = postgres_url(location)
        if url is None:
            return cls._open_sqlite(sqlite_path(location), shape, schema, synchronous)
        return cls._open_postgres(url, shape, schema, timeout_s)

    @classmethod
    def _open_sqlite(cls, path: Path, shape: Revision, schema: str, synchronous: Synchronous) -> "Database":
        private_file(path)
        writing = writing_engine(path, synchronous)
        try:
            with writing.begin() as connection:
                settle(connection, shape, str(path))
        except (DatabaseError, StoreError) as error:
            writing.dispose()
            if isinstance(error, DatabaseError):
                raise StoreError(f"{path} cannot be opened: {error.orig}.") from error
            raise
        return cls(schema, (writing, reading_engine(path, _SQLITE_READERS)), _SQLITE_READERS)

    @classmethod
    def _open_postgres(cls, url: Secret, shape: Revision, schema: str, timeout_s: float) -> "Database":
        # Only a store on PostgreSQL pays for its driver, which is an optional dependency.
        try:
            from headgate_database.listener import Listener  # noqa: PLC0415
            from headgate_database.postgres import Server  # noqa: PLC0415
        except ImportError as error:
            raise StoreError("PostgreSQL needs its driver: install headgate[postgres].") from error
        server = Server(url, schema, timeout_s)
        writing = server.engine(1, writes=True)
        reading = server.engine(_POSTGRES_READERS, writes=False)

        def look() -> None:
            server.settle(shape)
            for engine in (writing, reading):
                engine.dispose()  # old connections may be dead without having noticed

        presence = Presence(str(server), look)
        presence.look()

        def listen(channel: str, wake: Callable[[], None]) -> Listener:
            return Listener(server, channel, wake)

        return cls(schema, (writing, reading), _POSTGRES_READERS, presence, listen)

    @property
    def opened(self) -> bool:
        """Whether the store could ever be opened; only PostgreSQL leaves this open."""
        return self._presence.opened

    def listen(self, channel: str, wake: Callable[[], None]) -> bool:
        """Calls `wake`, on a thread of its own, after each commit of any process that said `notify(…, channel)`,
        and whenever such a commit may have been missed. False on SQLite, where no other process writes."""
        if self._listen is None:
            return False
        self._listeners.append(self._listen(channel, wake))
        return True

    async def write(self, function: Callable[[Connection], T]) -> T:
        """`Writer.run`: what `function` returned, once it is committed.

        Raises StoreAwayError when the database does not answer, OutcomeUnknownError when it was lost during
        the commit.
        """
        return await self.writer.run(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` returned on a reading connection, in one consistent view of the store. It runs on a
        reader thread, cannot write, and may run twice. Raises StoreAwayError."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, function)

    def _read(self, function: Callable[[Connection], T]) -> T:
        return self._presence.attempt(lambda: self._query(function))

    def _query(self, function: Callable[[Connection], T]) -> T:
        with self._reading.connect() as connection, connection.begin():
            return function(connection)

    async def close(self) -> None:
        """Commits what is queued and closes all connections. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.writer.close()
        self._readers.shutdown()
        self._presence.end()
        for engine in self._engines:
            engine.dispose()
