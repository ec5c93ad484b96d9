"""Torn tails are cut off, damage elsewhere raises an alarm, and no damaged record is ever counted (R2, R4, F52)."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.metering.v1.metering_pb2 import EVENT_KIND_SETTLE, UsageEvent
from headgate_clock import uuid7
from headgate_journal import Journal, JournalLimits
from headgate_journal.disk import SegmentFile
from headgate_journal.files import GROWTH_BYTES, MappedFile, PlainFile
from headgate_testing.clock import FakeClock

Reopen = Callable[..., Journal]
LIMITS = JournalLimits(segment_bytes=400, reserve_bytes=0, slots=4)


def settle() -> UsageEvent:
    made = UsageEvent(kind=EVENT_KIND_SETTLE, cost_nano_usd=random.randrange(10**9))
    made.call.call_id = uuid7(FakeClock())
    return made


@pytest.fixture(params=[MappedFile, PlainFile])
def reopen(request: pytest.FixtureRequest) -> Reopen:
    """Journals on either kind of file."""

    def open_journal(folder: Path, limits: JournalLimits = LIMITS) -> Journal:
        return Journal.open(folder, clock=FakeClock(), limits=limits, open_file=request.param)

    return open_journal


def written(folder: Path, count: int, reopen: Reopen) -> dict[int, bytes]:
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


@pytest.mark.parametrize(
    ("reopen", "room"),
    [(PlainFile, 0), (PlainFile, 40), (MappedFile, 0), (MappedFile, 1), (MappedFile, 7), (MappedFile, 5000)],
    indirect=["reopen"],
)
def test_a_tail_torn_at_any_byte_loses_only_the_torn_record(
    tmp_path: Path, reopen: Reopen, room: int
) -> None:
    """What the torn record was written into may follow it: zeros, as the disk gave them."""
    source = tmp_path / "source"
    before = written(source, 2, reopen)
    (segment,) = segments(source)
    data = segment.read_bytes()
    ends = [0]
    for number in (1, 2):
        ends.append(ends[-1] + 8 + len(before[number]))
    for cut in range(len(data)):
        folder = tmp_path / "cut"
        shutil.copytree(source, folder)
        (folder / segment.name).write_bytes(data[:cut] + bytes(room))
        journal = reopen(folder)
        whole = sum(end <= cut for end in ends[1:])
        assert contents_of(journal) == {number: before[number] for number in range(1, whole + 1)}
        assert journal.faults.torn_tails == (cut not in ends)
        assert journal.faults.corrupt_segments == 0
        assert journal.append(settle()) == whole + 1
        journal.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize(("reopen", "room"), [(PlainFile, 0), (MappedFile, 100)], indirect=["reopen"])
def test_a_flipped_bit_at_any_byte_is_noticed_and_never_counted(
    tmp_path: Path, reopen: Reopen, room: int
) -> None:
    source = tmp_path / "source"
    before = written(source, 4, reopen)
    names = [segment.name for segment in segments(source)]
    assert len(names) >= 2
    draw = random.Random(4)
    for name in names:
        data = (source / name).read_bytes() + bytes(room)
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
            assert after.items() <= before.items(), "what is read is what was written"
            if position < len(data) - room:
                assert len(after) < len(before)
            journal.close()
            shutil.rmtree(folder)


def test_zeros_over_records_in_the_middle_raise_the_alarm(tmp_path: Path, reopen: Reopen) -> None:
    """The end is where nothing but zeros follows, not where a record has no length."""
    source = tmp_path / "source"
    before = written(source, 4, reopen)
    first = segments(source)[0]
    data = first.read_bytes()
    start, end = 8 + len(before[1]), 16 + len(before[1]) + len(before[2])
    for length in (4, 8, end - start):
        folder = tmp_path / str(length)
        shutil.copytree(source, folder)
        (folder / first.name).write_bytes(data[:start] + bytes(length) + data[start + length :])
        journal = reopen(folder)
        assert (journal.faults.torn_tails, journal.faults.corrupt_segments) == (0, 1)
        assert contents_of(journal).items() < before.items()
        journal.close()


def test_room_behind_the_records_is_neither_damage_nor_kept(tmp_path: Path, reopen: Reopen) -> None:
    before = written(tmp_path, 9, reopen)
    sizes = {path: path.stat().st_size for path in segments(tmp_path)}
    for path in sizes:
        path.write_bytes(path.read_bytes() + bytes(GROWTH_BYTES))
    journal = reopen(tmp_path)
    assert contents_of(journal) == before
    faults = journal.faults
    assert (faults.torn_tails, faults.corrupt_segments, faults.gaps) == (0, 0, 0)
    assert journal.append(settle()) == 10
    journal.close()
    assert sizes.items() - {path: path.stat().st_size for path in sizes}.items() <= {max(sizes.items())}


def test_a_segment_that_lost_its_last_records_to_zeros_leaves_a_gap(tmp_path: Path, reopen: Reopen) -> None:
    before = written(tmp_path, 9, reopen)
    first = segments(tmp_path)[0]
    kept = 8 + len(before[1])
    first.write_bytes(first.read_bytes()[:kept] + bytes(4096))
    journal = reopen(tmp_path)
    assert journal.faults.gaps == 1
    journal.close()


def test_damage_in_the_middle_is_kept_aside_and_what_is_readable_goes_on(
    tmp_path: Path, reopen: Reopen
) -> None:
    before = written(tmp_path, 9, reopen)
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


def test_a_length_that_points_past_the_end_is_not_taken_for_a_torn_tail(
    tmp_path: Path, reopen: Reopen
) -> None:
    written(tmp_path, 3, reopen)
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[1] ^= 0x40
    segment.write_bytes(data)
    journal = reopen(tmp_path)
    assert (journal.faults.torn_tails, journal.faults.corrupt_segments) == (0, 1)
    assert next(tmp_path.glob("*.corrupt")).read_bytes() == data
    journal.close()


def test_a_missing_segment_is_noticed_unless_it_was_acked(tmp_path: Path, reopen: Reopen) -> None:
    written(tmp_path, 12, reopen)
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


def test_a_record_that_goes_bad_while_running_is_counted_and_the_rest_is_read(
    tmp_path: Path, reopen: Reopen
) -> None:
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


def test_a_damaged_ack_file_only_means_sending_again(tmp_path: Path, reopen: Reopen) -> None:
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


SECTOR = 512


class PowerCutDisk:
    """A disk with a cache. After `cut` what was synced is sure to be there. Of the rest there is some prefix, its
    last record torn, when it was written by the system; of mapped memory any sectors, in any order."""

    def __init__(self, open_file: Callable[[Path], SegmentFile], draw: random.Random) -> None:
        self.open_file, self.draw = open_file, draw
        self.mapped = open_file is MappedFile
        self.files: dict[Path, CachedFile] = {}

    def __call__(self, path: Path) -> "CachedFile":
        self.files[path] = CachedFile(self.open_file(path), path.stat().st_size)
        return self.files[path]

    def cut(self, folder: Path, after: Path) -> None:
        """Leave in `after` what the disk under `folder` holds."""
        durable = {path: file.durable for path, file in self.files.items()}
        shutil.copytree(folder, after)
        for path, sure in durable.items():
            data = (after / path.name).read_bytes()
            (after / path.name).write_bytes(
                self.scattered(data, sure) if self.mapped else self.torn(data, sure)
            )

    def torn(self, data: bytes, sure: int) -> bytes:
        return data[: self.draw.randint(sure, len(data))] + bytes(self.draw.choice((0, 0, 40)))

    def scattered(self, data: bytes, sure: int) -> bytes:
        if not sure and self.draw.random() < 0.3:
            return b""
        # The file is followed by room, of which nothing has to be looked at.
        end = len(data.rstrip(b"\0"))
        disk = bytearray(data[:sure] + bytes(len(data) - sure))
        for start in range(0, end, SECTOR):
            if self.draw.random() < 0.5:
                disk[start : start + SECTOR] = data[start : start + SECTOR]
        return bytes(disk)


class CachedFile:
    """One file on that disk; `durable` counts the bytes that a sync made sure of."""

    def __init__(self, file: SegmentFile, size: int) -> None:
        self.file, self.size, self.durable = file, size, size

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)

    def sync(self) -> None:
        size = self.size
        self.file.sync()
        self.durable = size

    def close(self) -> None:
        self.file.close()


async def lost_in_power_cuts(
    folder: Path, count: int, reopen: Reopen, open_file: Callable[[Path], SegmentFile], *, wait: bool
) -> int:
    """Events that the journal called durable (or, with `wait` off, merely took) and that were gone after a cut."""
    lost = 0
    draw = random.Random(11)
    limits = JournalLimits(segment_bytes=1500, reserve_bytes=0, slots=4, sync_delay_s=0.0 if wait else 0.05)
    for number in range(count):
        disk = PowerCutDisk(open_file, draw)
        place = folder / str(number)
        journal = Journal.open(place, clock=FakeClock(), limits=limits, open_file=disk)
        acked = []
        for _ in range(draw.randint(1, 30)):
            seq = journal.append(settle())
            if draw.random() < 0.3:
                if wait:
                    await journal.synced(seq)
                acked = list(range(1, seq + 1))
        after = folder / f"{number}-after"
        written = {event.seq: event.SerializeToString() for event in journal.read(1)}
        disk.cut(place, after)
        journal.close()
        again = reopen(after)
        there = contents_of(again)
        again.close()
        assert there.items() <= written.items(), "what is read is what was written"
        lost += len(set(acked) - set(there))
    return lost


@pytest.mark.parametrize("open_file", [MappedFile, PlainFile])
async def test_no_synced_event_is_lost_in_fifty_power_cuts(
    tmp_path: Path, reopen: Reopen, open_file: Callable[[Path], SegmentFile]
) -> None:
    assert await lost_in_power_cuts(tmp_path, 50, reopen, open_file, wait=True) == 0


@pytest.mark.parametrize("open_file", [MappedFile, PlainFile])
async def test_without_waiting_for_the_sync_power_cuts_do_lose_events(
    tmp_path: Path, reopen: Reopen, open_file: Callable[[Path], SegmentFile]
) -> None:
    """The negative control: the test above can fail."""
    assert await lost_in_power_cuts(tmp_path, 5, reopen, open_file, wait=False) > 0
