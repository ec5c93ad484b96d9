"""The model thread takes turns between jobs, refuses more than it can hold, and forgets callers who left."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from headgate_inference.local.worker import Steps, Worker
from headgate_rpc.errors import HeadgateError, Reason


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("test", waiting_limit=2)
    yield worker
    await worker.close()


class Gate:
    """A job that tells when it has started and holds the thread until it is let go."""

    def __init__(self) -> None:
        self.started, self.release = threading.Event(), threading.Event()

    def job(self) -> Steps[str]:
        self.started.set()
        self.release.wait(5)
        yield
        return "held"

    async def hold(self, worker: Worker) -> "asyncio.Task[str]":
        task = asyncio.create_task(worker.run(self.job()))
        assert await asyncio.to_thread(self.started.wait, 5)
        return task


def note(log: list[str], word: str, steps: int = 1) -> Steps[str]:
    for _ in range(steps):
        log.append(word)
        yield
    return word


async def settled() -> None:
    """Lets tasks that were just made reach their first wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_job_gives_its_result_and_its_error(worker: Worker) -> None:
    def broken() -> Steps[str]:
        yield
        raise ValueError("broken")

    assert await worker.run(note([], "done")) == "done"
    with pytest.raises(ValueError, match="broken"):
        await worker.run(broken())
    assert await worker.run(note([], "still works")) == "still works"


async def test_a_short_job_does_not_wait_for_a_long_one(worker: Worker) -> None:
    gate, log = Gate(), list[str]()
    held = await gate.hold(worker)
    long = asyncio.create_task(worker.run(note(log, "long", 5)))
    await settled()
    short = asyncio.create_task(worker.run(note(log, "short")))
    await settled()
    gate.release.set()
    await asyncio.gather(held, long, short)
    assert log[:2] == ["long", "short"]


async def test_beyond_the_limit_a_job_is_refused_with_a_time_to_come_back(worker: Worker) -> None:
    gate = Gate()
    held = await gate.hold(worker)
    waiting = [asyncio.create_task(worker.run(note([], "waits"))) for _ in range(2)]
    await settled()
    with pytest.raises(HeadgateError) as caught:
        await worker.run(note([], "one too many"))
    gate.release.set()
    await asyncio.gather(held, *waiting)
    assert caught.value.reason == Reason.OVERLOADED
    assert caught.value.retry_after_ms


async def test_a_cancelled_job_never_starts_and_gives_its_place_away(worker: Worker) -> None:
    gate, log = Gate(), list[str]()
    held = await gate.hold(worker)
    waiting = [asyncio.create_task(worker.run(note(log, "cancelled"))) for _ in range(2)]
    await settled()
    for task in waiting:
        task.cancel()
    await settled()
    late = [asyncio.create_task(worker.run(note(log, "late"))) for _ in range(2)]
    await settled()
    gate.release.set()
    assert await asyncio.gather(held, *late) == ["held", "late", "late"]
    assert "cancelled" not in log


async def test_a_caller_who_leaves_during_a_step_stops_the_job_before_the_next(worker: Worker) -> None:
    gate, log = Gate(), list[str]()

    def job() -> Steps[None]:
        yield from gate.job()
        log.append("went on")

    task = asyncio.create_task(worker.run(job()))
    assert await asyncio.to_thread(gate.started.wait, 5)
    task.cancel()
    await settled()
    gate.release.set()
    assert await worker.run(note([], "next")) == "next"
    assert log == []


async def test_closing_drops_what_waits_and_refuses_what_comes() -> None:
    worker = Worker("closing")
    gate = Gate()
    held = await gate.hold(worker)
    waiting = asyncio.create_task(worker.run(note([], "waits")))
    await settled()
    closing = asyncio.create_task(worker.close())
    await settled()
    gate.release.set()
    await closing
    outcomes = await asyncio.gather(held, waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError]
    with pytest.raises(HeadgateError):
        await worker.run(note([], "late"))
