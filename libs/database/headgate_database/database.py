"""One service's store: opened, checked, written by one thread and read by a few."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.exc import DatabaseError

from headgate_database.engine import Synchronous, reading_engine, writing_engine
from headgate_database.errors import StoreError
from headgate_database.location import private_file, sqlite_path
from headgate_database.revision import Revision, settle
from headgate_database.writer import Writer

T = TypeVar("T")

_READERS = 2


class Database:
    """A store that is open. Close it when done: what was queued is committed first."""

    def __init__(self, name: str, writing: Engine, reading: Engine) -> None:
        self._engines = (writing, reading)
        self._reading = reading
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix=f"reader-{name}")
        self.writer = Writer(writing, name)

    @classmethod
    def open(
        cls,
        location: str | Path,
        metadata: MetaData,
        schema: str,
        synchronous: Synchronous = "NORMAL",
        *,
        revision: str = "0001",
        migrations: Path | None = None,
    ) -> "Database":
        """Opens the store of the service `schema` at a path or URL; a fresh one is made from `metadata`.

        `revision` is the shape of `metadata`: the name of the last alembic script in the folder
        `migrations`; without the folder only that revision can be opened. `synchronous` FULL keeps every
        commit over a loss of power, NORMAL may lose the last ones. Blocks.
        Raises StoreError when the store cannot be used.
        """
        path = sqlite_path(location)
        private_file(path)
        writing = writing_engine(path, synchronous)
        try:
            with writing.begin() as connection:
                settle(connection, Revision(metadata, revision, migrations), str(path))
        except (DatabaseError, StoreError) as error:
            writing.dispose()
            if isinstance(error, DatabaseError):
                raise StoreError(f"{path} cannot be opened: {error.orig}.") from error
            raise
        return cls(schema, writing, reading_engine(path, _READERS))

    async def write(self, function: Callable[[Connection], T]) -> T:
        """`Writer.run`: what `function` returned, once it is committed."""
        return await self.writer.run(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` returned on a reading connection, in one consistent view of the store. It runs on a
        reader thread and cannot write."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, function)

    def _read(self, function: Callable[[Connection], T]) -> T:
        with self._reading.connect() as connection, connection.begin():
            return function(connection)

    async def close(self) -> None:
        """Commits what is queued and closes all connections. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self.writer.close()
        self._readers.shutdown()
        for engine in self._engines:
            engine.dispose()
