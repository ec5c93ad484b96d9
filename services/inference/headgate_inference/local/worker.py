"""One thread that runs model jobs in small steps, in turn, so that neither the event loop nor a short job
waits for a long one. A job whose caller went away is dropped before its next step."""

import asyncio
import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from headgate_rpc.errors import HeadgateError, Reason

T = TypeVar("T")

Steps = Generator[None, None, T]
"""A job: it yields after each piece of work (some 0.3 s at most) and returns its result."""

# About the time a few short jobs take; a caller that comes back then mostly finds room.
_RETRY_AFTER_MS = 1000


@dataclass(slots=True)
class _Job(Generic[T]):
    steps: Steps[T]
    outcome: Future[T] = field(default_factory=Future)

    def advance(self) -> bool:
        """Runs one step; False when there is nothing left to do."""
        if self.outcome.cancelled():
            self.steps.close()
            return False
        try:
            next(self.steps)
        except StopIteration as end:
            if self.outcome.set_running_or_notify_cancel():
                self.outcome.set_result(end.value)
            return False
        except BaseException as error:  # noqa: BLE001 - raised again where the caller awaits
            if self.outcome.set_running_or_notify_cancel():
                self.outcome.set_exception(error)
            return False
        return True


class Worker:
    """Runs jobs in one thread, which starts with the first job; `waiting_limit` jobs may wait behind one."""

    def __init__(self, name: str, waiting_limit: int = 8) -> None:
        self._name = name
        self._limit = waiting_limit
        self._jobs: deque[_Job[object]] = deque()
        self._running: _Job[object] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, steps: Steps[T]) -> T:
        """The result of `steps`. Raises what it raises, and OVERLOADED when too many jobs wait already."""
        job = _Job(steps)
        self._enqueue(job)  # type: ignore[arg-type]  # the queue never looks at results
        return await asyncio.wrap_future(job.outcome)

    async def close(self) -> None:
        """Drops all jobs and ends the thread after the step it is in."""
        with self._changed:
            self._closed = True
            dropped = [*self._jobs, *([self._running] if self._running else [])]
            self._jobs.clear()
            self._changed.notify()
        for job in dropped:
            job.outcome.cancel()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _enqueue(self, job: _Job[object]) -> None:
        with self._changed:
            if self._closed:
                raise HeadgateError(Reason.SERVICE_UNAVAILABLE, "Local models are shutting down.")
            # Jobs whose callers left must not keep others out until the thread comes to them.
            self._jobs = deque(waiting for waiting in self._jobs if not waiting.outcome.cancelled())
            if len(self._jobs) + (self._running is not None) > self._limit:
                raise HeadgateError(
                    Reason.OVERLOADED, "Local models have too much to do.", retry_after_ms=_RETRY_AFTER_MS
                )
            self._jobs.append(job)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            more = job.advance()
            with self._changed:
                self._running = None
                if more and not self._closed:
                    self._jobs.append(job)

    def _next(self) -> _Job[object] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            if self._closed:
                return None
            self._running = self._jobs.popleft()
            return self._running
