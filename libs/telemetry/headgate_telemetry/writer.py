"""Puts log lines on a file descriptor from a thread of its own, so that a full pipe never stops the loop."""

import atexit
import os
import select
import threading
from collections import deque
from collections.abc import Callable


class LineWriter:
    """Takes whole lines, joins what is waiting into one write, drops the newest when more than `limit_bytes`
    wait. Safe from any thread."""

    def __init__(
        self,
        fd: int,
        *,
        limit_bytes: int = 4 << 20,
        on_drop: Callable[[int], None] = lambda lines: None,
    ) -> None:
        self._fd = fd
        self._limit = limit_bytes
        self._on_drop = on_drop
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, lines: bytes, count: int = 1) -> None:
        """Take `count` complete lines, each with its newline."""
        with self._changed:
            if self._size + len(lines) <= self._limit and not self._closing:
                self._waiting.append(lines)
                self._size += len(lines)
                self._changed.notify()
                self._start()
                return
        self._on_drop(count)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is waiting, for at most `timeout` seconds; later lines are dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
            atexit.unregister(self.close)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                lines = b"".join(self._waiting)
                self._waiting.clear()
                self._size = 0
            self._write_all(lines)

    def _write_all(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError:
                # The reader is gone for good: there is nowhere left to say so but the counter.
                self._on_drop(bytes(rest).count(b"\n"))
                return
