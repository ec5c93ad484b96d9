"""Ending a call from outside (its key was revoked) wherever it is, whichever task runs it at the moment."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from headgate_rpc.errors import HeadgateError

T = TypeVar("T")


class Interruption:
    """One call's. Everything the call waits for goes through `wait`."""

    __slots__ = ("_error", "_task")

    def __init__(self) -> None:
        self._error: HeadgateError | None = None
        self._task: asyncio.Task[object] | None = None

    def interrupt(self, error: HeadgateError) -> None:
        """End the call with `error`: what it waits for now, or waits for next, raises it."""
        self._error = error
        if self._task is not None:
            self._task.cancel()

    async def wait(self, awaited: Coroutine[object, object, T]) -> T:
        """Await, unless interrupted. Raises the error given to `interrupt`."""
        if self._error is not None:
            awaited.close()
            raise self._error
        task = self._task = asyncio.current_task()
        try:
            return await awaited
        except asyncio.CancelledError:
            # The caller may have gone at the same moment; then its cancellation goes on.
            error = self._interrupted()
            if error is not None and task is not None and task.uncancel() == 0:
                raise error from None
            raise
        finally:
            self._task = None

    def _interrupted(self) -> HeadgateError | None:
        return self._error
