"""Ending a call from outside (its key was revoked, its provider is late) wherever it is, whichever task runs it at
the moment."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from headgate_rpc.errors import HeadgateError

T = TypeVar("T")


class Interruption:
    """One call's. Everything the call waits for goes through `wait`; `close` it in the end."""

    __slots__ = ("_due", "_error", "_task", "_timer")

    def __init__(self) -> None:
        self._error: HeadgateError | TimeoutError | None = None
        self._task: asyncio.Task[object] | None = None
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def interrupt(self, error: HeadgateError) -> None:
        """End the call with `error`: what it waits for now, or waits for next, raises it."""
        self._end(error)

    async def wait(self, awaited: Coroutine[object, object, T], due: float | None = None) -> T:
        """Await, unless interrupted. Raises the error given to `interrupt`, and TimeoutError when it takes beyond
        `due` on the loop's clock. `due` must not be earlier than that of the wait before."""
        if self._error is not None:
            awaited.close()
            raise self._error
        # Nowhere else: a frame that holds its task, and the task its fault, stay until the collector comes.
        self._task = asyncio.current_task()
        self._due = due
        if due is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due, self._look)
        try:
            return await awaited
        except asyncio.CancelledError:
            # The caller may have gone at the same moment; then its cancellation goes on.
            error = self._interrupted()
            if error is not None and self._task is not None and self._task.uncancel() == 0:
                raise error from None
            raise
        finally:
            self._task = None

    def close(self) -> None:
        """The call has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """A stream waits for each of its pieces: a timer that looks whether what is due has moved since it was set
        costs nothing for nearly all of them."""
        self._timer = None
        if self._task is None or self._due is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look)
        else:
            self._end(TimeoutError())

    def _end(self, error: HeadgateError | TimeoutError) -> None:
        if self._error is not None:
            return
        self._error = error
        if self._task is not None:
            self._task.cancel()

    def _interrupted(self) -> HeadgateError | TimeoutError | None:
        return self._error
