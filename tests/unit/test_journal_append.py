"""A journal numbers events, keeps them over death, refuses a second writer and says when it is full."""

import errno
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_ADJUST,
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    EventKind,
    UsageEvent,
)
from headgate_clock import uuid7
from headgate_journal import Journal, JournalBroken, JournalError, JournalFull, JournalLimits, JournalLocked
from headgate_journal.disk import SegmentFile
from headgate_journal.files import GROWTH_BYTES, MappedFile, PlainFile, open_segment
from headgate_testing.clock import FakeClock

Reopen = Callable[..., Journal]
SMALL = JournalLimits(segment_bytes=500, total_bytes=20_000, pinned_bytes=2000, reserve_bytes=0, slots=64)


def event(kind: "EventKind.ValueType" = EVENT_KIND_ADJUST, call_id: str | None = None) -> UsageEvent:
    made = UsageEvent(kind=kind, model="m")
    made.call.call_id = call_id or uuid7(FakeClock())
    return made


@pytest.fixture(params=[MappedFile, PlainFile])
def file_class(request: pytest.FixtureRequest) -> type[MappedFile] | type[PlainFile]:
    """Either kind of file."""
    kind: type[MappedFile] | type[PlainFile] = request.param
    return kind


@pytest.fixture
def reopen(file_class: Callable[[Path], SegmentFile]) -> Reopen:
    """Journals on either kind of file."""

    def open_journal(folder: Path, **changes: object) -> Journal:
        defaults = {"limits": SMALL, "open_file": file_class, "clock": FakeClock()}
        return Journal.open(folder, **(defaults | changes))  # type: ignore[arg-type]

    return open_journal


def seqs(journal: Journal, from_seq: int = 1) -> list[int]:
    return [read.seq for read in journal.read(from_seq)]


def test_events_are_numbered_from_one_and_stamped(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    first = event()
    assert [journal.append(first), journal.append(event())] == [1, 2]
    assert (first.producer_id, first.seq, first.time_ms) == (journal.producer_id, 1, FakeClock().wall_ms())
    assert next(journal.read(1)).SerializeToString() == first.SerializeToString()
    journal.close()


def test_a_restart_keeps_identity_numbers_and_what_was_acked(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    for _ in range(30):
        journal.append(event())
    journal.ack(7)
    journal.close()
    again = reopen(tmp_path)
    assert (again.producer_id, again.last_seq, again.acked_seq) == (journal.producer_id, 30, 7)
    assert again.append(event()) == 31
    assert seqs(again, 8) == list(range(8, 32))
    again.close()


def test_a_restart_after_everything_was_acked_reads_nothing_and_keeps_the_numbers(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    for _ in range(30):
        journal.append(event())
    journal.ack(30)
    journal.close()
    (tmp_path / "acked").unlink()
    again = reopen(tmp_path)
    assert (again.last_seq, again.acked_seq, seqs(again)) == (30, 30, [])
    assert again.append(event()) == 31
    again.close()


def test_identity_is_taken_from_the_segments_when_its_file_is_lost(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    journal.append(event())
    journal.close()
    (tmp_path / "producer").write_text("gibberish")
    again = reopen(tmp_path)
    assert (again.producer_id, again.last_seq) == (journal.producer_id, 1)
    again.close()


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    with pytest.raises(JournalLocked, match="another process"):
        reopen(tmp_path)
    journal.close()
    reopen(tmp_path).close()


def test_segments_go_only_when_acked_and_oldest_first(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    for _ in range(40):
        journal.append(event())
    count = len(list(tmp_path.glob("*-*-*-*-*-*")))
    assert count > 5
    journal.ack(1)
    assert len(list(tmp_path.glob("*-*-*-*-*-*"))) == count
    journal.ack(20)
    left = seqs(journal, 1)
    assert left[0] <= 21
    assert left == list(range(left[0], 41))
    assert len(list(tmp_path.glob("*-*-*-*-*-*"))) < count
    journal.ack(40)
    assert len(list(tmp_path.glob("*-*-*-*-*-*"))) == 1
    journal.close()


def test_acking_what_was_never_written_is_an_error(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    with pytest.raises(ValueError, match="never written"):
        journal.ack(1)
    journal.close()


def test_a_running_call_keeps_its_intent_when_its_segment_is_acked(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    call_id = uuid7(FakeClock())
    journal.append(event(EVENT_KIND_INTENT, call_id))
    for _ in range(100):
        journal.append(event())
        journal.ack(journal.last_seq)
    assert journal.fill_ratio < 0.3
    assert len(list(tmp_path.glob("*-*-*-*-*-*"))) < 10, "the intent moved on, so old segments could go"
    journal.close()
    again = reopen(tmp_path)
    assert [settle.call.call_id for settle in again.recovered] == [call_id]
    again.close()


def test_a_settle_may_be_deleted_only_with_its_intent(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    running, done = uuid7(FakeClock()), uuid7(FakeClock())
    journal.append(event(EVENT_KIND_INTENT, running))
    journal.append(event(EVENT_KIND_INTENT, done))
    for _ in range(5):
        journal.append(event())
    journal.append(event(EVENT_KIND_SETTLE, done))
    for _ in range(100):
        journal.append(event())
        journal.ack(journal.last_seq)
    journal.close()
    again = reopen(tmp_path)
    assert [settle.call.call_id for settle in again.recovered] == [running]
    again.close()


def test_new_calls_are_refused_before_the_limit_and_running_ones_can_still_settle(
    tmp_path: Path, reopen: Reopen
) -> None:
    journal = reopen(tmp_path)
    call_id = uuid7(FakeClock())
    journal.append(event(EVENT_KIND_INTENT, call_id))
    while journal.accepts_calls:
        journal.append(event(EVENT_KIND_INTENT))
    assert journal.fill_ratio >= 0.95
    with pytest.raises(JournalFull):
        journal.append(event(EVENT_KIND_INTENT))
    while journal.fill_ratio < 1:
        journal.append(event(EVENT_KIND_CHECKPOINT))
    with pytest.raises(JournalFull):
        journal.append(event(EVENT_KIND_CHECKPOINT))
    seq = journal.append(event(EVENT_KIND_SETTLE, call_id))
    assert seqs(journal) == list(range(1, seq + 1)), "a refused event leaves no hole"
    journal.close()


class FillingDisk:
    """Opens files on a disk with `room` bytes left, shared by all of them."""

    def __init__(self, open_file: Callable[[Path], SegmentFile], room: int) -> None:
        self.open_file = open_file
        self.room = room

    def __call__(self, path: Path) -> "FillingFile":
        return FillingFile(self, self.open_file(path))


class FillingFile:
    """One file on that disk."""

    def __init__(self, disk: FillingDisk, file: SegmentFile) -> None:
        self.disk, self.file = disk, file
        self.sync, self.close = file.sync, file.close

    def write(self, data: bytes) -> None:
        if len(data) > self.disk.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.disk.room -= len(data)
        self.file.write(data)


def test_a_full_disk_refuses_new_calls_then_uses_the_reserve_then_says_so(
    tmp_path: Path, reopen: Reopen, file_class: Callable[[Path], SegmentFile]
) -> None:
    disk = FillingDisk(file_class, 1000)
    clock = FakeClock()
    journal = reopen(tmp_path, clock=clock, open_file=disk)
    with pytest.raises(JournalFull, match="disk is full"):
        while True:
            journal.append(event(EVENT_KIND_SETTLE))
    accepted_when_full = journal.accepts_calls
    disk.room = 1000
    journal.append(event(EVENT_KIND_SETTLE))
    with pytest.raises(JournalFull):
        journal.append(event(EVENT_KIND_INTENT))
    clock.advance(2)
    accepted = (accepted_when_full, journal.accepts_calls)
    assert accepted == (False, True), "with the reserve back, calls are taken again"
    assert seqs(journal) == list(range(1, journal.last_seq + 1))
    journal.close()


def test_intents_that_cannot_be_written_anew_stay_where_they_are(
    tmp_path: Path, reopen: Reopen, file_class: Callable[[Path], SegmentFile]
) -> None:
    disk = FillingDisk(file_class, 10**6)
    journal = reopen(tmp_path, open_file=disk)
    calls = [uuid7(FakeClock()) for _ in range(3)]
    for call_id in calls:
        journal.append(event(EVENT_KIND_INTENT, call_id))
    for _ in range(100):
        journal.append(event())
    disk.room = 150
    for acked in range(1, journal.last_seq + 1):
        journal.ack(acked)
    journal.close()
    again = reopen(tmp_path)
    assert sorted(settle.call.call_id for settle in again.recovered) == sorted(calls)
    again.close()


class DyingFile(PlainFile):
    """A disk whose syncs fail."""

    def sync(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


async def test_after_a_failed_sync_nothing_more_is_accepted(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path, open_file=DyingFile)
    seq = journal.append(event())
    with pytest.raises(JournalBroken):
        await journal.synced(seq)
    with pytest.raises(JournalBroken):
        journal.append(event())
    assert journal.fill_ratio == 1
    with pytest.raises(JournalBroken):
        journal.close()


@pytest.mark.parametrize("sync", ["batch", "always"])
async def test_synced_returns_once_the_event_is_on_the_disk(
    tmp_path: Path, reopen: Reopen, sync: str
) -> None:
    journal = reopen(tmp_path, sync=sync)
    for _ in range(20):
        seq = journal.append(event())
    await journal.synced(seq)
    assert journal.synced_seq >= seq
    await journal.synced(1)
    journal.close()


def test_closing_twice_is_harmless_and_nothing_is_appended_afterwards(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(event())


def test_an_oversized_event_is_refused_whole(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    big = event()
    big.model = "m" * 70_000
    with pytest.raises(ValueError, match="65536"):
        journal.append(big)
    assert (journal.append(event()), seqs(journal)) == (1, [1])
    journal.close()


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Sets how large files may grow, which the kernel then enforces as it does a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_refuses_whole_records_and_goes_on_later(
    tmp_path: Path, file_class: type[MappedFile] | type[PlainFile], file_size_limit: Callable[[int], None]
) -> None:
    path = tmp_path / "segment"
    file = file_class(path)
    record, count = b"r" * 10_000, 0
    file_size_limit(2 * GROWTH_BYTES + 5000)
    with pytest.raises(OSError):
        while True:
            file.write(record)
            count += 1
    assert count == 2 * GROWTH_BYTES // len(record)
    with pytest.raises(OSError):
        file.write(record)
    assert path.read_bytes().rstrip(b"\0") == record * count
    file_size_limit(10**7)
    file.write(record)
    file.sync()
    file.close()
    assert path.read_bytes() == record * (count + 1)


def test_every_byte_a_mapped_file_may_write_to_has_its_block(tmp_path: Path) -> None:
    file = MappedFile(tmp_path / "segment")
    for _ in range(40):
        file.write(b"r" * 60_000)
        found = (tmp_path / "segment").stat()
        assert found.st_blocks * 512 >= found.st_size >= 60_000
    file.close()


def test_a_file_goes_on_where_the_one_before_was_closed(
    tmp_path: Path, file_class: type[MappedFile] | type[PlainFile]
) -> None:
    for number in range(3):
        file = file_class(tmp_path / "segment")
        file.write(b"%d" % number * 3)
        file.close()
    assert (tmp_path / "segment").read_bytes() == b"000111222"


def test_mapped_files_are_the_ordinary_case(tmp_path: Path) -> None:
    file = open_segment(tmp_path / "segment")
    assert isinstance(file, MappedFile)
    file.close()


def test_closed_segments_are_cut_to_what_they_hold(tmp_path: Path, reopen: Reopen) -> None:
    journal = reopen(tmp_path)
    for _ in range(30):
        journal.append(event())
    used = journal.fill_ratio * SMALL.total_bytes
    journal.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*-*-*-*-*-*")) == round(used)
