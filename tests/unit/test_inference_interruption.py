"""A call can be ended from outside wherever it waits, and a caller that leaves is never mistaken for that."""

import asyncio

import pytest

from headgate_inference.interruption import Interruption
from headgate_rpc.errors import HeadgateError, Reason

ENDED = HeadgateError(Reason.INVALID_CREDENTIALS, "ended")


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def run(interruption: Interruption) -> None:
    await interruption.wait(forever())


async def test_what_a_call_waits_for_ends_with_the_error() -> None:
    interruption = Interruption()
    task = asyncio.ensure_future(run(interruption))
    await asyncio.sleep(0)
    interruption.interrupt(ENDED)
    with pytest.raises(HeadgateError) as caught:
        await asyncio.wait_for(task, 5)
    assert caught.value is ENDED


async def test_the_next_wait_ends_when_the_call_was_between_two() -> None:
    interruption = Interruption()
    interruption.interrupt(ENDED)
    with pytest.raises(HeadgateError):
        await asyncio.wait_for(run(interruption), 5)


async def test_a_caller_that_leaves_cancels() -> None:
    task = asyncio.ensure_future(run(Interruption()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_a_caller_that_leaves_at_the_same_moment_cancels() -> None:
    interruption = Interruption()
    task = asyncio.ensure_future(run(interruption))
    await asyncio.sleep(0)
    interruption.interrupt(ENDED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_a_finished_wait_is_left_alone() -> None:
    interruption = Interruption()
    await interruption.wait(asyncio.sleep(0))
    interruption.interrupt(ENDED)
    await asyncio.sleep(0)
