"""One thread that puts written records on the disk, many at a time: a sync costs what it costs however many
records it covers, and must not stop the loop."""

import asyncio
import threading

from headgate_journal.disk import SegmentFile
from headgate_journal.errors import JournalBroken

_JOIN_LIMIT_S = 10.0


class Syncer:
    """Syncs at most `delay_s` after a record was written, at once when someone waits. All methods but the
    thread's own run on one thread (the loop's)."""

    def __init__(self, file: SegmentFile, written: int, delay_s: float) -> None:
        self.written = written
        self.synced = written
        self.error: OSError | None = None
        self._file = file
        self._retired: list[SegmentFile] = []
        self._delay_s = delay_s
        self._swap = threading.Lock()
        self._one_at_a_time = threading.Lock()
        self._work = threading.Event()
        self._hurry = threading.Event()
        self._idle = False
        self._stopping = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
        self._thread.start()

    def wrote(self, seq: int) -> None:
        """Record `seq` has been written to the current file."""
        self.written = seq
        if self._idle:
            self._idle = False
            self._work.set()

    def switch(self, file: SegmentFile) -> None:
        """Go on with the next file; the one before is synced and closed."""
        with self._swap:
            self._retired.append(self._file)
            self._file = file

    async def wait(self, seq: int) -> None:
        """Return when record `seq` is on the disk. Raises JournalBroken when it may never be."""
        self._raise_error()
        if self.synced >= seq:
            return
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append((seq, future))
        self._hurry.set()
        self._work.set()
        # The thread may have failed and ended while this one joined the waiters.
        self._raise_error()
        await future

    def sync_now(self) -> None:
        """Put everything written on the disk before returning; blocks. Raises JournalBroken."""
        self._sync()
        self._raise_error()

    def stop(self) -> None:
        """Sync what is left, close the files, end the thread. Raises JournalBroken."""
        self._stopping = True
        self._hurry.set()
        self._work.set()
        self._thread.join(_JOIN_LIMIT_S)
        self._raise_error()

    def _raise_error(self) -> None:
        if self.error is not None:
            raise JournalBroken("the journal could not be synced to disk") from self.error

    def _run(self) -> None:
        while not self._stopping and self.error is None:
            self._wait_for_work()
            self._hurry.wait(self._delay_s)
            self._hurry.clear()
            self._sync()
            if self._loop is not None and self._waiters and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._wake)
        self._sync()
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error

    def _wait_for_work(self) -> None:
        """Sleep while there is nothing to sync. As long as there is, the thread keeps its own pace, one wake-up
        for each sync, and the loop's thread need not signal."""
        if self._behind:
            return
        self._idle = True
        # Once more, since a record may have come before the thread said that it is idle.
        if not self._behind:
            self._work.wait()
        self._work.clear()
        self._idle = False

    @property
    def _behind(self) -> bool:
        return self.written != self.synced or bool(self._retired)

    def _sync(self) -> None:
        with self._one_at_a_time:
            self._sync_files()

    def _sync_files(self) -> None:
        seq = self.written
        with self._swap:
            retired, self._retired = self._retired, []
            file = self._file
        if self.error is not None or (seq == self.synced and not retired):
            return
        try:
            for old in retired:
                old.sync()
                old.close()
            file.sync()
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: a second try would say yes and lie.
            self.error = error
            return
        self.synced = seq

    def _wake(self) -> None:
        waiting = self._waiters
        self._waiters = []
        for seq, future in waiting:
            if future.done():
                continue
            if self.error is not None:
                future.set_exception(JournalBroken("the journal could not be synced to disk"))
            elif self.synced >= seq:
                future.set_result(None)
            else:
                self._waiters.append((seq, future))
