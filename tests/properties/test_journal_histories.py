"""Whatever happens to calls and processes, every call has exactly one settle, of at least what its caller
received and at most what the provider sent (R1, R4)."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_SETTLE,
    OUTCOME_COMPLETED,
    OUTCOME_EXPIRED,
    Quantities,
    UsageEvent,
)
from headgate_clock import uuid7
from headgate_journal import Journal, JournalLimits, MeteredCall, Settlement
from headgate_journal.disk import OpenFile
from headgate_journal.files import MappedFile, PlainFile
from headgate_money import TokenCounts
from headgate_testing.clock import FakeClock

# Small, so that segments turn over, intents are carried forward and slots run out.
LIMITS = JournalLimits(
    segment_bytes=700, total_bytes=10**6, pinned_bytes=1000, reserve_bytes=0, slots=3, sync_delay_s=0.0
)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("progress"), st.integers(0, 40)),
        st.tuples(st.just("settle"), st.integers(0, 5)),
        st.tuples(st.just("traffic"), st.integers(1, 10)),
        st.tuples(st.just("ship"), st.integers(0, 60)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    min_size=12,
    max_size=60,
)


@dataclass
class Caller:
    """What one caller and its provider counted, independently of the journal."""

    call: MeteredCall
    emitted: int = 0
    received: int = 0
    slotted: bool = True


class World:
    """A process with its journal, the callers it serves, and the ledger that outlives it."""

    def __init__(self, root: Path, open_file: OpenFile) -> None:
        self.root = root
        self.open_file = open_file
        self.lives = 0
        self.clock = FakeClock()
        self.journal = self.start(root / "0")
        self.running: dict[str, Caller] = {}
        self.everyone: dict[str, Caller] = {}
        self.ledger: dict[int, UsageEvent] = {}

    def start(self, folder: Path) -> Journal:
        return Journal.open(folder, clock=self.clock, limits=LIMITS, open_file=self.open_file)

    def begin(self, _: int) -> None:
        intent = UsageEvent(quantities=Quantities(input_tokens=7))
        intent.call.call_id = uuid7(self.clock)
        caller = Caller(MeteredCall(self.journal, intent))
        self.running[intent.call.call_id] = self.everyone[intent.call.call_id] = caller

    def progress(self, units: int) -> None:
        for caller in list(self.running.values())[-2:]:
            if not caller.emitted:
                caller.slotted = self.journal.slots.in_use < LIMITS.slots
            caller.emitted += units
            caller.call.progress(caller.emitted)
            caller.received = caller.emitted

    def settle(self, which: int) -> None:
        if not self.running:
            return
        call_id = list(self.running)[which % len(self.running)]
        caller = self.running.pop(call_id)
        settlement = Settlement(OUTCOME_COMPLETED, TokenCounts(7, caller.emitted), "m", "p")
        caller.call.settle(settlement)
        caller.call.settle(settlement)

    def traffic(self, count: int) -> None:
        """Short calls, while the others go on."""
        for _ in range(count):
            self.begin(0)
            self.settle(len(self.running) - 1)

    def ship(self, count: int) -> None:
        for event in self.journal.read(self.journal.acked_seq + 1):
            assert event.seq not in self.ledger
            self.ledger[event.seq] = event
            if not count:
                break
            count -= 1
        if self.ledger:
            self.journal.ack(max(self.ledger))

    def kill(self, _: int) -> None:
        """What `kill -9` leaves is the files as they are; the copy has never been closed."""
        self.lives += 1
        folder = self.root / str(self.lives)
        shutil.copytree(self.journal._folder, folder)
        self.journal.close()
        self.journal = self.start(folder)
        self.running.clear()

    def restart(self, _: int) -> None:
        folder = self.journal._folder
        self.journal.close()
        self.journal = self.start(folder)
        self.running.clear()

    def judge(self) -> None:
        self.kill(0)
        self.ship(10**6)
        settles = [event for event in self.ledger.values() if event.kind == EVENT_KIND_SETTLE]
        assert sorted(event.call.call_id for event in settles) == sorted(self.everyone)
        assert sorted(self.ledger) == list(range(1, len(self.ledger) + 1))
        for event in settles:
            caller, billed = self.everyone[event.call.call_id], event.quantities.output_tokens
            # Without a slot only the checkpoint before the last is known.
            missed = 0 if caller.slotted or event.outcome != OUTCOME_EXPIRED else 32
            assert caller.received - missed <= billed <= caller.emitted
        assert self.journal.open_calls == 0
        faults = self.journal.faults
        assert (faults.torn_tails, faults.corrupt_segments, faults.gaps) == (0, 0, 0)


@pytest.mark.parametrize("open_file", [MappedFile, PlainFile])
@settings(max_examples=50, deadline=None)
@given(history=steps)
def test_every_call_is_settled_exactly_once_for_what_was_received(
    open_file: OpenFile, history: list[tuple[str, int]]
) -> None:
    root = Path(tempfile.mkdtemp(prefix="journal-"))
    world = World(root, open_file)
    try:
        for step, argument in history:
            getattr(world, step)(argument)
        world.judge()
    finally:
        world.journal.close()
        shutil.rmtree(root)
