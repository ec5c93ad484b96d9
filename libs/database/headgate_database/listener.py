"""Word from other processes that something was committed, by PostgreSQL's LISTEN and NOTIFY. It is a hurry-up, not
a guarantee: who follows a table also looks at it from time to time."""

import threading
from collections.abc import Callable

import psycopg
from psycopg import sql

from headgate_database.errors import StoreAwayError
from headgate_database.postgres import BoundedConnection, Server

# How often a thread looks whether it should end, and after a lost connection tries for another.
BREATH_S = 0.2


class Listener:
    """A thread with a connection of its own that calls `wake` on each notice, and after each gap in listening."""

    def __init__(self, server: Server, channel: str, wake: Callable[[], None]) -> None:
        self._server = server
        self._channel = channel
        self._wake = wake
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"listener-{channel}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. Blocks; idempotent."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._server.connect(self._server.timeout_s) as connection:
                    self._listen(connection)
            except (StoreAwayError, psycopg.OperationalError):
                # Whoever reads the store tells the operator.
                self._ended.wait(BREATH_S)

    def _listen(self, connection: BoundedConnection) -> None:
        connection.autocommit = True
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        self._wake()
        while not self._ended.is_set():
            for _ in connection.notifies(timeout=BREATH_S, stop_after=1):
                self._wake()
