"""Torn tails are cut off, damage elsewhere raises an alarm, and no damaged record is ever counted (R2, R4, F52)."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from headgate.metering.v1.metering_pb2 import EVENT_KIND_SETTLE, UsageEvent
from headgate_clock import uuid7
from headgate_journal import Journal, JournalLimits
from headgate_journal.disk import DiskFile
from headgate_testing.clock import FakeClock

LIMITS = JournalLimits(segment_bytes=400, reserve_bytes=0, slots=4)


def settle() -> UsageEvent:
    made = UsageEvent(kind=EVENT_KIND_SETTLE, cost_nano_usd=random.randrange(10**9))
    made.call.call_id = uuid7(FakeClock())
    return made


def reopen(folder: Path) -> Journal:
    return Journal.open(folder, clock=FakeClock(), limits=LIMITS)


def written(folder: Path, count: int) -> dict[int, bytes]:
    """A closed journal with `count` events; their bytes by number."""
    journal = reopen(folder)
    for _ in range(count):
        journal.append(settle())
    contents = {event.seq: event.SerializeToString() for event in journal.read(1)}
    journal.close()
    assert len(contents) == count
    return contents


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*-*-*-*-*-*") if "corrupt" not in path.name)


def contents_of(journal: Journal) -> dict[int, bytes]:
    return {event.seq: event.SerializeToString() for event in journal.read(1)}


def test_a_tail_torn_at_any_byte_loses_only_the_torn_record(tmp_path: Path) -> None:
    source = tmp_path / "source"
    before = written(source, 2)
    (segment,) = segments(source)
    data = segment.read_bytes()
    ends = [0]
    for number in (1, 2):
        ends.append(ends[-1] + 8 + len(before[number]))
    for cut in range(len(data)):
        folder = tmp_path / "cut"
        shutil.copytree(source, folder)
        (folder / segment.name).write_bytes(data[:cut])
        journal = reopen(folder)
        whole = sum(end <= cut for end in ends[1:])
        assert contents_of(journal) == {number: before[number] for number in range(1, whole + 1)}
        assert journal.faults.torn_tails == (cut not in ends)
        assert journal.faults.corrupt_segments == 0
        assert journal.append(settle()) == whole + 1
        journal.close()
        shutil.rmtree(folder)


def test_a_flipped_bit_at_any_byte_is_noticed_and_never_counted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    before = written(source, 4)
    names = [segment.name for segment in segments(source)]
    assert len(names) >= 2
    draw = random.Random(4)
    for name in names:
        data = (source / name).read_bytes()
        for position in range(len(data)):
            folder = tmp_path / "flip"
            shutil.copytree(source, folder)
            damaged = bytearray(data)
            damaged[position] ^= 1 << draw.randrange(8)
            (folder / name).write_bytes(damaged)
            journal = reopen(folder)
            faults = journal.faults
            assert faults.torn_tails + faults.corrupt_segments == 1, f"{name} byte {position}"
            after = contents_of(journal)
            assert after.items() < before.items(), "what is read is what was written"
            journal.close()
            shutil.rmtree(folder)


def test_damage_in_the_middle_is_kept_aside_and_what_is_readable_goes_on(tmp_path: Path) -> None:
    before = written(tmp_path, 9)
    first, *_, last = segments(tmp_path)
    data = bytearray(first.read_bytes())
    data[8 + len(before[1]) + 20] ^= 1  # in the second record
    first.write_bytes(data)
    journal = reopen(tmp_path)
    assert journal.faults.corrupt_segments == 1
    read = contents_of(journal)
    assert 1 in read and 2 not in read and 9 in read
    assert [path.name for path in tmp_path.glob("*.corrupt")] == [first.name + ".corrupt"]
    assert journal.append(settle()) == 10
    journal.close()
    assert last.exists()


def test_a_length_that_points_past_the_end_is_not_taken_for_a_torn_tail(tmp_path: Path) -> None:
    written(tmp_path, 3)
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[1] ^= 0x40
    segment.write_bytes(data)
    journal = reopen(tmp_path)
    assert (journal.faults.torn_tails, journal.faults.corrupt_segments) == (0, 1)
    assert next(tmp_path.glob("*.corrupt")).read_bytes() == data
    journal.close()


def test_a_missing_segment_is_noticed_unless_it_was_acked(tmp_path: Path) -> None:
    written(tmp_path, 12)
    _, second, third, *_ = segments(tmp_path)
    second.unlink()
    journal = reopen(tmp_path)
    assert journal.faults.gaps == 1
    journal.ack(int(third.name.rpartition("-")[2]) - 1)
    journal.append(settle())
    journal.close()
    again = reopen(tmp_path)
    assert again.faults.gaps == 0
    again.close()


def test_a_record_that_goes_bad_while_running_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    journal = reopen(tmp_path)
    for _ in range(9):
        journal.append(settle())
    first = segments(tmp_path)[0]
    data = bytearray(first.read_bytes())
    data[20] ^= 1
    first.write_bytes(data)
    read = contents_of(journal)
    assert journal.faults.corrupt_segments == 1
    assert 1 not in read and 9 in read
    journal.ack(9)
    assert [path.name for path in tmp_path.glob("*.corrupt")] == [first.name + ".corrupt"]
    journal.close()


def test_a_damaged_ack_file_only_means_sending_again(tmp_path: Path) -> None:
    journal = reopen(tmp_path)
    for _ in range(3):
        journal.append(settle())
    journal.ack(2)
    journal.close()
    data = bytearray((tmp_path / "acked").read_bytes())
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 16
        (tmp_path / "acked").write_bytes(damaged)
        again = reopen(tmp_path)
        assert (again.acked_seq, again.last_seq) == (0, 3)
        again.close()


class PowerCutFile(DiskFile):
    """A disk with a cache: only what was synced is sure to be there after `cut`, and of the rest some prefix,
    its last record torn."""

    files: ClassVar["dict[Path, PowerCutFile]"] = {}
    off = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.durable = path.stat().st_size
        PowerCutFile.files[path] = self

    def sync(self) -> None:
        size = self.path.stat().st_size
        if PowerCutFile.off:
            return
        super().sync()
        self.durable = size

    @classmethod
    def cut(cls, draw: random.Random) -> None:
        cls.off = True
        for file in cls.files.values():
            data = file.path.read_bytes()
            kept = draw.randint(file.durable, len(data))
            file.path.write_bytes(data[:kept] + bytes(draw.choice((0, 0, 40))))


@pytest.fixture
def power() -> Iterator[None]:
    PowerCutFile.files.clear()
    yield
    PowerCutFile.files.clear()
    PowerCutFile.off = False


async def lost_in_power_cuts(folder: Path, count: int, *, wait: bool) -> int:
    """Events that the journal called durable (or, with `wait` off, merely took) and that were gone after a cut."""
    lost = 0
    draw = random.Random(11)
    limits = JournalLimits(segment_bytes=1500, reserve_bytes=0, slots=4, sync_delay_s=0.0 if wait else 0.05)
    for number in range(count):
        PowerCutFile.files.clear()
        PowerCutFile.off = False
        place = folder / str(number)
        journal = Journal.open(place, clock=FakeClock(), limits=limits, open_file=PowerCutFile)
        acked = []
        for _ in range(draw.randint(1, 30)):
            seq = journal.append(settle())
            if draw.random() < 0.3:
                if wait:
                    await journal.synced(seq)
                acked = list(range(1, seq + 1))
        PowerCutFile.cut(draw)
        journal.close()
        again = reopen(place)
        there = set(contents_of(again))
        again.close()
        lost += len(set(acked) - there)
    return lost


async def test_no_synced_event_is_lost_in_fifty_power_cuts(tmp_path: Path, power: object) -> None:
    assert await lost_in_power_cuts(tmp_path, 50, wait=True) == 0


async def test_without_waiting_for_the_sync_power_cuts_do_lose_events(tmp_path: Path, power: object) -> None:
    """The negative control: the test above can fail."""
    assert await lost_in_power_cuts(tmp_path, 5, wait=False) > 0
