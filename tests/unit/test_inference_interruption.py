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


async def test_what_is_late_ends_in_a_timeout() -> None:
    interruption = Interruption()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5) as patience:
            await interruption.wait(forever(), asyncio.get_running_loop().time())
    assert not patience.expired()


async def test_what_is_due_later_each_time_is_never_late() -> None:
    loop = asyncio.get_running_loop()
    interruption = Interruption()
    await interruption.wait(asyncio.sleep(0), loop.time())
    for _ in range(100):
        await interruption.wait(asyncio.sleep(0), loop.time() + 60)
    interruption.close()


async def test_nothing_is_late_between_two_waits() -> None:
    interruption = Interruption()
    await interruption.wait(asyncio.sleep(0), asyncio.get_running_loop().time())
    for _ in range(10):
        await asyncio.sleep(0)
    await interruption.wait(asyncio.sleep(0))
    interruption.close()


async def test_a_caller_that_leaves_when_the_provider_is_late_cancels() -> None:
    interruption = Interruption()
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(interruption.wait(forever(), loop.time()))
    loop.call_at(loop.time(), task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_a_closed_one_leaves_no_timer() -> None:
    interruption = Interruption()
    await interruption.wait(asyncio.sleep(0), asyncio.get_running_loop().time() + 60)
    interruption.close()
    assert interruption._timer is None
