"""The shipper brings every event to metering in order, however long metering is away, and keeps little in memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_ADJUST,
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    EventKind,
    RecordUsageRequest,
    UsageEvent,
)
from headgate_clock import uuid7
from headgate_journal import Journal, JournalLimits, Shipper, ShipperLimits
from headgate_journal.shipper import without_settled
from headgate_journal.written import written
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.clock import FakeClock

LIMITS = JournalLimits(segment_bytes=2000, reserve_bytes=0, slots=4)
FAST = ShipperLimits(batch=10, interval_s=0.0, memory=25, backoff_s=0.0, backoff_most_s=0.0)


class Ledger:
    """Metering's side: takes events, or fails as told."""

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.batches: list[int] = []
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.in_flight = 0

    async def send(self, request: RecordUsageRequest) -> None:
        self.in_flight += 1
        assert self.in_flight == 1, "one batch in flight"
        try:
            await self.open.wait()
            if self.failures:
                raise self.failures.pop()
            self.events += request.events
            self.batches.append(len(request.events))
        finally:
            self.in_flight -= 1

    def seqs(self) -> list[int]:
        return [event.seq for event in self.events]


def event(kind: "EventKind.ValueType" = EVENT_KIND_ADJUST, call_id: str | None = None) -> UsageEvent:
    made = UsageEvent(kind=kind)
    made.call.call_id = call_id or uuid7(FakeClock())
    return made


@asynccontextmanager
async def shipping(journal: Journal, ledger: Ledger, limits: ShipperLimits = FAST) -> AsyncIterator[Shipper]:
    shipper = Shipper(journal, ledger.send, FakeClock(), limits)
    task = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def reopen(folder: Path) -> Journal:
    return Journal.open(folder, clock=FakeClock(), limits=LIMITS)


async def test_events_arrive_in_order_in_bounded_batches_and_are_acked(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    async with shipping(journal, ledger) as shipper:
        for _ in range(3):
            for _ in range(23):
                journal.append(event())
            await shipper.flush()
        assert ledger.seqs() == list(range(1, 70))
        assert max(ledger.batches) <= 10
        assert (shipper.lag_events, journal.acked_seq, shipper.oldest_unsent_age) == (0, 69, 0)
    journal.close()


async def test_it_goes_on_where_the_process_before_stopped(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    for _ in range(35):
        journal.append(event())
    journal.ack(5)
    journal.close()
    journal = reopen(tmp_path)
    async with shipping(journal, ledger) as shipper:
        journal.append(event())
        await shipper.flush()
    assert ledger.seqs() == list(range(6, 37))
    journal.close()


@pytest.mark.parametrize(
    "failure", [HeadgateError(Reason.SERVICE_UNAVAILABLE, "away"), TimeoutError(), ConnectionResetError()]
)
async def test_a_failed_batch_is_sent_again_until_it_is_taken(tmp_path: Path, failure: Exception) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    ledger.failures = [failure] * 5
    async with shipping(journal, ledger) as shipper:
        journal.append(event())
        await shipper.flush()
        assert (ledger.seqs(), shipper.failures) == ([1], 5)
        assert shipper.last_error
    journal.close()


async def test_far_behind_it_reads_from_the_files_and_returns_to_memory(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    ledger.open.clear()
    async with shipping(journal, ledger) as shipper:
        for _ in range(120):
            journal.append(event())
            await asyncio.sleep(0)
        assert len(shipper._recent) <= FAST.memory
        ledger.open.set()
        for _ in range(40):
            journal.append(event())
            await asyncio.sleep(0)
        await shipper.flush()
        assert ledger.seqs() == list(range(1, 161))
        reads: list[int] = []
        original = journal.read

        def watched(from_seq: int) -> Iterator[UsageEvent]:
            reads.append(from_seq)
            return original(from_seq)

        journal.read = watched  # type: ignore[method-assign]  # on this one journal, to see its reads
        for _ in range(20):
            journal.append(event())
        await shipper.flush()
        assert ledger.seqs() == list(range(1, 181))
        assert reads == [], "once it has caught up it reads no files"
    journal.close()


async def test_the_age_of_the_oldest_unsent_event_is_told(tmp_path: Path) -> None:
    clock = FakeClock()
    journal, ledger = Journal.open(tmp_path, clock=clock, limits=LIMITS), Ledger()
    shipper = Shipper(journal, ledger.send, clock, FAST)
    journal.append(event())
    clock.advance(7)
    journal.append(event())
    assert (shipper.lag_events, shipper.oldest_unsent_age) == (2, 7)
    journal.close()


async def test_a_damaged_place_is_passed_over_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    for _ in range(100):
        journal.append(event())
    first = min(path for path in tmp_path.glob("*-*-*-*-*-*"))
    data = bytearray(first.read_bytes())
    data[LIMITS.segment_bytes // 2] ^= 1
    first.write_bytes(data)
    async with shipping(journal, ledger) as shipper:
        await shipper.flush()
    seqs = ledger.seqs()
    assert journal.faults.corrupt_segments == 1
    assert seqs == sorted(set(seqs)) and seqs[0] == 1 and seqs[-1] == 100 and len(seqs) < 100
    journal.close()


async def test_an_intent_goes_only_when_its_settle_is_not_in_the_batch() -> None:
    done, running = uuid7(FakeClock()), uuid7(FakeClock())
    kinds = [
        (EVENT_KIND_INTENT, done),
        (EVENT_KIND_INTENT, running),
        (EVENT_KIND_CHECKPOINT, done),
        (EVENT_KIND_CHECKPOINT, running),
        (EVENT_KIND_SETTLE, done),
        (EVENT_KIND_ADJUST, done),
    ]
    left = without_settled([written(event(kind, call_id)) for kind, call_id in kinds])
    assert [(one.kind, one.call_id) for one in left] == [kinds[1], kinds[3], kinds[4], kinds[5]]


async def test_only_what_is_on_the_disk_is_sent(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    synced: list[int] = []
    send = ledger.send

    async def checked(request: RecordUsageRequest) -> None:
        synced.append(journal.synced_seq - max(one.seq for one in request.events))
        await send(request)

    ledger.send = checked  # type: ignore[method-assign]
    async with shipping(journal, ledger) as shipper:
        for _ in range(60):
            journal.append(event())
            await asyncio.sleep(0)
        await shipper.flush()
    assert min(synced) >= 0
    journal.close()


async def test_a_process_with_running_calls_gives_signs_of_life(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    limits = ShipperLimits(interval_s=0.0, heartbeat_s=0.001)
    async with shipping(journal, ledger, limits) as shipper:
        await asyncio.sleep(0.01)
        assert ledger.batches == []
        journal.append(event(EVENT_KIND_INTENT))
        await shipper.flush()
        while ledger.batches.count(0) < 3:
            await asyncio.sleep(0)
        assert ledger.seqs() == [1]
    journal.close()


async def test_closing_waits_for_what_is_left_but_not_for_ever(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    async with shipping(journal, ledger) as shipper:
        journal.append(event())
        await shipper.close()
        assert ledger.seqs() == [1]
        ledger.open.clear()
        journal.append(event())
        await shipper.close(bound_s=0.01)
        assert shipper.lag_events == 1
    journal.close()


async def test_a_cancelled_shipper_loses_nothing(tmp_path: Path) -> None:
    journal, ledger = reopen(tmp_path), Ledger()
    ledger.open.clear()
    async with shipping(journal, ledger):
        for _ in range(15):
            journal.append(event())
        await asyncio.sleep(0.01)
    ledger.open.set()
    async with shipping(journal, ledger) as shipper:
        await shipper.flush()
    assert ledger.seqs() == list(range(1, 16))
    journal.close()
