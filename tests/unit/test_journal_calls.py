"""A metered call has an intent before it runs, progress while it runs and one settle, whatever happens."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    OUTCOME_CANCELLED,
    OUTCOME_COMPLETED,
    OUTCOME_EXPIRED,
    Quantities,
    UsageEvent,
)
from headgate.registry.v1.registry_pb2 import Price
from headgate_clock import uuid7
from headgate_journal import Journal, JournalFull, JournalLimits, MeteredCall, Settlement
from headgate_journal.files import MappedFile, PlainFile
from headgate_money import TokenCounts
from headgate_testing.clock import FakeClock

Reopen = Callable[..., Journal]
PRICE = Price(version="v1", input_pico_usd=1_000_000, output_pico_usd=2_000_000)
LIMITS = JournalLimits(slots=4, reserve_bytes=0)


def intent(price: Price | None = PRICE) -> UsageEvent:
    made = UsageEvent(
        requested_model="fast",
        model="small",
        provider="one",
        price=price,
        worst_case_nano_usd=99,
        quantities=Quantities(input_tokens=10),
    )
    made.call.call_id = uuid7(FakeClock())
    made.call.account_id = "account"
    return made


def settlement(**changes: object) -> Settlement:
    fields = {
        "outcome": OUTCOME_COMPLETED,
        "counts": TokenCounts(input_tokens=3, output_tokens=5),
        "model": "small",
        "provider": "one",
    }
    return Settlement(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(params=[MappedFile, PlainFile])
def reopen(request: pytest.FixtureRequest) -> Reopen:
    """Journals on either kind of file."""

    def open_journal(folder: Path, limits: JournalLimits = LIMITS) -> Journal:
        return Journal.open(folder, clock=FakeClock(), limits=limits, open_file=request.param)

    return open_journal


def test_a_settle_says_all_the_ledger_needs_and_what_it_cost(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    call = MeteredCall(journal, intent())
    settle = call.settle(
        settlement(latency_ms=70, first_token_ms=20, attempts=2, error_reason="X", provider="two")
    )
    begun, ended = journal.read(1)
    assert (begun.kind, ended.kind) == (EVENT_KIND_INTENT, EVENT_KIND_SETTLE)
    assert ended == settle == call.settled
    assert ended.call == begun.call
    assert (ended.requested_model, ended.price, ended.worst_case_nano_usd) == ("fast", PRICE, 99)
    assert (ended.provider, ended.latency_ms, ended.first_token_ms, ended.attempts) == ("two", 70, 20, 2)
    assert ended.quantities == Quantities(input_tokens=3, output_tokens=5)
    assert ended.cost_nano_usd == 3 * 1000 + 5 * 2000
    journal.close()


def test_a_second_settle_changes_nothing(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    call = MeteredCall(journal, intent())
    first = call.settle(settlement())
    assert call.settle(settlement(outcome=OUTCOME_CANCELLED)) is first
    assert journal.last_seq == 2
    assert journal.slots.in_use == 0
    journal.close()


def test_a_fallback_can_settle_at_its_own_price_and_no_price_is_the_flat_one(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    own = Price(version="other", output_pico_usd=1000)
    settle = MeteredCall(journal, intent()).settle(settlement(price=own))
    assert (settle.price, settle.cost_nano_usd) == (own, 5)
    assert MeteredCall(journal, intent(price=None)).settle(settlement()).cost_nano_usd == 8 * 2000
    journal.close()


def test_a_settle_that_found_no_room_can_be_made_again_at_the_intents_price(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    call = MeteredCall(journal, intent())
    other = Price(version="other", output_pico_usd=1000)
    with pytest.raises(ValueError, match="65536"):
        call.settle(settlement(price=other, error_reason="x" * 70_000))
    assert (call.settled, journal.open_calls) == (None, 1)
    settle = call.settle(settlement())
    assert (settle.price, settle.cost_nano_usd, settle.error_reason) == (PRICE, 13_000, "")
    assert [event.kind for event in journal.read(1)] == [EVENT_KIND_INTENT, EVENT_KIND_SETTLE]
    journal.close()


def test_progress_is_checkpointed_every_32_units(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    call = MeteredCall(journal, intent())
    for units in range(1, 101):
        call.progress(units)
    checkpoints = [event for event in journal.read(1) if event.kind == EVENT_KIND_CHECKPOINT]
    assert [event.quantities.output_tokens for event in checkpoints] == [32, 64, 96]
    assert call.units == 100
    journal.close()


def test_a_call_without_settle_is_settled_at_the_next_start_from_its_slot(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    event = intent()
    MeteredCall(journal, event).progress(33)
    MeteredCall(journal, intent()).settle(settlement())
    journal.close()
    again = reopen(tmp_path)
    (settle,) = again.recovered
    assert (settle.kind, settle.outcome, settle.estimated) == (EVENT_KIND_SETTLE, OUTCOME_EXPIRED, True)
    assert (settle.call, settle.price) == (event.call, PRICE)
    assert settle.quantities == Quantities(input_tokens=10, output_tokens=33)
    assert settle.cost_nano_usd == 10 * 1000 + 33 * 2000
    assert settle.seq == again.last_seq
    again.close()
    third = reopen(tmp_path)
    assert third.recovered == ()
    third.close()


def test_after_a_power_cut_that_lost_the_slots_the_last_checkpoint_counts(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    MeteredCall(journal, intent()).progress(70)
    journal.close()
    (tmp_path / "slots").unlink()
    again = reopen(tmp_path)
    assert [settle.quantities.output_tokens for settle in again.recovered] == [70]
    again.close()


def test_a_call_without_a_free_slot_runs_on_checkpoints(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path, JournalLimits(slots=1, reserve_bytes=0))
    MeteredCall(journal, intent())
    call = MeteredCall(journal, intent())
    call.progress(40)
    journal.close()
    again = reopen(tmp_path)
    assert sorted(settle.quantities.output_tokens for settle in again.recovered) == [0, 40]
    again.close()


def test_a_call_that_the_full_journal_refuses_leaves_no_trace(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path, JournalLimits(total_bytes=1000, slots=4, reserve_bytes=0))
    running = MeteredCall(journal, intent())
    with pytest.raises(JournalFull):
        for _ in range(20):
            MeteredCall(journal, intent())
    held = journal.slots.in_use
    with pytest.raises(JournalFull):
        MeteredCall(journal, intent())
    assert journal.slots.in_use == held
    for units in range(1000):
        running.progress(units)
    running.settle(settlement())
    journal.close()


def test_a_call_without_a_proper_id_is_refused_before_anything_is_written(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    event = intent()
    event.call.call_id = "7"
    with pytest.raises(ValueError):
        MeteredCall(journal, event)
    assert (journal.last_seq, journal.slots.in_use) == (0, 0)
    journal.close()


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from test_journal_calls import intent, settlement
from headgate_clock import SystemClock
from headgate_journal import Journal, MeteredCall, files

journal = Journal.open(Path(sys.argv[1]), clock=SystemClock(), open_file=getattr(files, sys.argv[3]))
for recovered in journal.recovered:
    print("settled", recovered.call.call_id, recovered.quantities.output_tokens)
number = 0
while True:
    number += 1
    event = intent()
    call = MeteredCall(journal, event)
    print("begun", event.call.call_id, 0)
    for units in range(1, number % 50 + 2):
        call.progress(units)
        print("received", event.call.call_id, units, flush=True)
    if number % 3:
        call.settle(settlement())
"""


@pytest.mark.parametrize("file_class", ["MappedFile", "PlainFile"])
def test_kill_9_at_any_moment_leaves_exactly_one_settle_of_at_least_what_was_received(
    tmp_path: Path, file_class: str
) -> None:
    """R1 in small: the child's own output is the history, the journal is judged against it."""
    received: dict[str, int] = {}
    for lines in (40, 333, 1500):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent), file_class],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        history = [next(child.stdout) for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        history += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        for line in history:
            what, call_id, units = [*line.split(), "", "0"][:3]
            if what in ("begun", "received") and len(call_id) == 36 and line.endswith("\n"):
                received[call_id] = int(units)
    journal = Journal.open(tmp_path, clock=FakeClock(), limits=LIMITS)
    settles = [event for event in journal.read(1) if event.kind == EVENT_KIND_SETTLE]
    settled = {event.call.call_id: event for event in settles}
    assert len(settles) == len(settled)
    assert received.keys() <= settled.keys()
    expired = [event for event in settles if event.outcome == OUTCOME_EXPIRED]
    assert len(expired) > 20
    for event in expired:
        # One unit may have been stored and not told any more when the process died.
        assert 0 <= event.quantities.output_tokens - received.get(event.call.call_id, 0) <= 1
    journal.close()
