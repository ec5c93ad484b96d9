"""Progress slots give back after death what was stored in them, and never one call's units to another."""

from pathlib import Path

import pytest

from headgate_clock import SystemClock, uuid7
from headgate_journal.slots import ProgressSlots


def test_units_of_running_calls_survive(tmp_path: Path) -> None:
    slots = ProgressSlots(tmp_path / "slots", 8)
    calls = [uuid7(SystemClock()) for _ in range(3)]
    held = [slots.claim(call_id) for call_id in calls]
    for number, slot in enumerate(held):
        assert slot is not None
        slot.update(10 * number)
    assert held[1] is not None
    held[1].release()
    again = ProgressSlots(tmp_path / "slots", 8)  # the first is not closed: it died
    assert again.survivors == {calls[0]: 0, calls[2]: 20}
    again.forget_survivors()
    assert ProgressSlots(tmp_path / "slots", 8).survivors == {}


def test_a_reused_slot_starts_at_zero(tmp_path: Path) -> None:
    slots = ProgressSlots(tmp_path / "slots", 1)
    first = slots.claim(uuid7(SystemClock()))
    assert first is not None
    first.update(500)
    first.release()
    call_id = uuid7(SystemClock())
    slots.claim(call_id)
    assert ProgressSlots(tmp_path / "slots", 1).survivors == {call_id: 0}


def test_when_all_are_taken_there_is_none_until_one_is_released(tmp_path: Path) -> None:
    slots = ProgressSlots(tmp_path / "slots", 2)
    held = [slots.claim(uuid7(SystemClock())) for _ in range(3)]
    assert held[2] is None
    assert slots.in_use == 2
    assert held[0] is not None
    held[0].release()
    assert slots.claim(uuid7(SystemClock())) is not None


def test_another_count_after_a_restart_keeps_the_survivors(tmp_path: Path) -> None:
    call_id = uuid7(SystemClock())
    slots = ProgressSlots(tmp_path / "slots", 2)
    slots.claim(uuid7(SystemClock()))
    slot = slots.claim(call_id)
    assert slot is not None
    slot.update(7)
    assert ProgressSlots(tmp_path / "slots", 1).survivors[call_id] == 7


def test_what_is_no_call_id_is_refused(tmp_path: Path) -> None:
    slots = ProgressSlots(tmp_path / "slots", 1)
    with pytest.raises(ValueError):
        slots.claim("not a uuid")
    with pytest.raises(ValueError):
        slots.claim("abcd")
    assert slots.in_use == 0
