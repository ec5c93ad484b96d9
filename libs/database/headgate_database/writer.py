"""The owned writer thread. Functions queued while a commit runs share the next transaction, because a commit
costs far more than the statements in it."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from headgate_database.errors import ConflictError, OutcomeUnknownError
from headgate_database.faults import Fault, fault_of
from headgate_database.presence import Presence

T = TypeVar("T")

MAX_GROUP = 256
# How often one function's transaction is tried against others in its way.
TRIES = 3


@dataclass(slots=True)
class _Job(Generic[T]):
    function: Callable[[Connection], T]
    future: asyncio.Future[T]
    loop: asyncio.AbstractEventLoop
    result: T | None = None
    error: BaseException | None = None

    def run(self, connection: Connection) -> None:
        self.error = None
        try:
            self.result = self.function(connection)
        except Exception as error:  # noqa: BLE001 -- handed to the caller, whose error it is
            self.error = error

    def deliver(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(cast(T, self.result))


class Writer:
    """Runs functions on the store's one writing connection, in the order they were asked for.

    A group of functions is one transaction; each has its own savepoint, so that one that fails leaves no
    trace and does no harm to its neighbours. Results are delivered after the commit. On PostgreSQL a group
    whose connection died, or that was in a deadlock with another replica, is rolled back and run again.
    """

    def __init__(self, engine: Engine, name: str, presence: Presence) -> None:
        self._engine = engine
        self._presence = presence
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[Connection], T]) -> T:
        """What `function` returned, once it is committed; raises what it raised, or what the commit raised.

        The function runs on the writer thread and must not commit, block or keep the connection. It may run
        more than once, each time as if it were the first: it changes nothing but the store. A caller that is
        cancelled stops waiting; its write is made all the same.
        """
        if self._closed:
            raise RuntimeError("The store is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(function, future, loop)
        self._jobs.put(cast(_Job[object], job))
        return await future

    def close(self) -> None:
        """Commits what was asked for until now and ends the thread. Blocks; idempotent."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        group = self._next_group()
        while group:
            self._commit(group)
            _deliver(group)
            group = self._next_group()

    def _commit(self, group: list[_Job[object]], tries: int = TRIES) -> None:
        try:
            self._presence.attempt(lambda: self._transaction(group))
        except ConflictError as error:
            # Alone they hold fewer locks, and only their own.
            if len(group) > 1:
                for job in group:
                    self._commit([job])
            elif tries > 1:
                self._commit(group, tries - 1)
            else:
                group[0].error = error
        except Exception as error:  # noqa: BLE001 -- handed to every caller whose write it was
            for job in group:
                job.error = job.error or error

    def _transaction(self, group: list[_Job[object]]) -> None:
        committing = False
        try:
            # Checked out anew for each group: the pool rolls back what a failed COMMIT left open.
            with self._engine.connect() as connection, connection.begin() as transaction:
                for job in group:
                    _run_alone(connection, job)
                if all(job.error is not None for job in group):
                    transaction.rollback()
                committing = True
        except DBAPIError as error:
            if committing and error.connection_invalidated:
                raise OutcomeUnknownError from error
            raise

    def _next_group(self) -> list[_Job[object]]:
        """Waits for a job and takes along what is queued behind it; empty when the writer was closed."""
        group: list[_Job[object]] = []
        while len(group) < MAX_GROUP and (not group or not self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                # Comes after all jobs; left in the queue it ends the thread in the next round.
                self._jobs.put(None)
                break
            group.append(job)
        return group


def _run_alone(connection: Connection, job: _Job[object]) -> None:
    connection.exec_driver_sql("SAVEPOINT job")
    job.run(connection)
    if job.error is not None:
        if fault_of(job.error) is not Fault.OWN:
            fault, job.error = job.error, None
            raise fault
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
    connection.exec_driver_sql("RELEASE SAVEPOINT job")


def _deliver(group: list[_Job[object]]) -> None:
    # One wake-up for each loop, not for each job: waking a loop costs more than a row.
    for loop in {job.loop for job in group}:
        mine = [job for job in group if job.loop is loop]
        try:
            loop.call_soon_threadsafe(_deliver_all, mine)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            continue


def _deliver_all(jobs: list[_Job[object]]) -> None:
    for job in jobs:
        job.deliver()
