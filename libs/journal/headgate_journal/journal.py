"""The journal: usage leaves the process only through it. One writer, checksummed segments, deleted when
metering has them. A memory copy for each event because a settled call may cost microseconds, not a database
commit."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    UsageEvent,
)
from headgate_clock import Clock
from headgate_journal.disk import OpenFile
from headgate_journal.errors import JournalBroken, JournalError, JournalFull
from headgate_journal.files import open_segment
from headgate_journal.folder import AckFile, Reserve, lock_folder, producer_of
from headgate_journal.frames import frame
from headgate_journal.recovery import expired_settles, survey
from headgate_journal.segments import Faults, Segment, find_segments, segment_path
from headgate_journal.slots import ProgressSlots
from headgate_journal.syncing import Syncer
from headgate_journal.written import Written

Sync = Literal["batch", "always"]

# New calls are refused a little before the end, so that the running ones can still say how they went.
INTENT_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Sizes in bytes. Acked segments are kept for calls that still run up to `pinned_bytes`; beyond it their
    intents move to the newest segment. `sync_delay_s` bounds how long a `batch` record waits for its sync."""

    segment_bytes: int = 16 * 2**20
    total_bytes: int = 2**30
    pinned_bytes: int = 64 * 2**20
    reserve_bytes: int = 4 * 2**20
    slots: int = 16_384
    sync_delay_s: float = 0.008


class Journal:
    """Open with `Journal.open`. All methods belong to one thread (the loop's), but for `read`."""

    def __init__(
        self, folder: Path, lock: int, *, sync: Sync, clock: Clock, limits: JournalLimits, open_file: OpenFile
    ) -> None:
        self.producer_id = producer_of(folder)
        self.limits = limits
        self._intents_end = limits.total_bytes * INTENT_SHARE
        self.on_append: Callable[[Written], None] | None = None
        self._folder = folder
        self._lock = lock
        self._clock = clock
        self._open_file = open_file
        self._ack_file = AckFile(folder / "acked")
        self._reserve = Reserve(folder / "reserve", limits.reserve_bytes, clock)
        self._segments = find_segments(folder, self.producer_id)
        found = survey(self._segments, self._ack_file.read())
        self.faults: Faults = found.faults
        self._open_calls: dict[str, Written] = {}
        self._last_seq = max(self._ack_file.read(), self._segments[-1].last_seq if self._segments else 0)
        oldest = self._segments[0].first_seq if self._segments else self._last_seq + 1
        self._acked = max(self._ack_file.read(), oldest - 1)
        self._size = sum(segment.size for segment in self._segments)
        self._current = self._next_segment()
        delay_s = limits.sync_delay_s if sync == "batch" else 0.0
        self._file = open_file(self._current.path)
        self._syncer = Syncer(self._file, self._last_seq, delay_s)
        self._closed = False
        self.slots = ProgressSlots(folder / "slots", limits.slots)
        self.recovered = tuple(expired_settles(found, self.slots.survivors))
        for settle in self.recovered:
            self.append(settle)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Clock,
        sync: Sync = "batch",
        limits: JournalLimits | None = None,
        open_file: OpenFile = open_segment,
    ) -> "Journal":
        """Open or make the journal in `folder` and settle the calls that the process before left open
        (`recovered`; their settles are appended before anything else). Blocks for the time of reading what
        metering does not have yet. Raises JournalLocked when another process writes it."""
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_folder(folder)
        try:
            journal = cls(
                folder, lock, sync=sync, clock=clock, limits=limits or JournalLimits(), open_file=open_file
            )
        except BaseException:
            os.close(lock)
            raise
        if journal.recovered:
            journal._syncer.sync_now()
        journal.slots.forget_survivors()
        return journal

    @property
    def last_seq(self) -> int:
        """Number of the last event appended, 0 before the first."""
        return self._last_seq

    @property
    def acked_seq(self) -> int:
        """Number up to which metering has everything."""
        return self._acked

    @property
    def synced_seq(self) -> int:
        """Number up to which everything is on the disk."""
        return self._syncer.synced

    @property
    def open_calls(self) -> int:
        """Calls with an intent and no settle."""
        return len(self._open_calls)

    @property
    def fill_ratio(self) -> float:
        """How full it is, 0 to 1; 1 also when the disk failed or is down to the journal's reserve."""
        if self._syncer.error is not None or not self._reserve.held:
            return 1.0
        return min(1.0, self._size / self.limits.total_bytes)

    @property
    def accepts_calls(self) -> bool:
        """Whether a new call's intent would be taken now."""
        return self.fill_ratio < INTENT_SHARE

    def append(self, event: UsageEvent) -> int:
        """Write an event and give its sequence number. Fills in producer, number and time. What was written no
        longer hangs on the object, which the caller may change. It survives the death of the process from here
        on, and a power cut once `synced`.

        Raises JournalFull for an intent from 95 % on, for a checkpoint at 100 %, and for anything when the
        disk is full; JournalBroken when the disk failed."""
        kind = event.kind
        self._check_room(kind)
        return self._put(event, kind)

    def _put(self, event: UsageEvent, kind: int) -> int:
        event.producer_id = self.producer_id
        event.seq = seq = self._last_seq + 1
        event.time_ms = time_ms = self._clock.wall_ms()
        call_id = event.call.call_id
        payload = event.SerializeToString()
        record = frame(payload)
        size = len(record)
        current = self._current
        if current.size + size > self.limits.segment_bytes and current.size:
            current = self._rotate()
        try:
            self._file.write(record)
        except OSError as fault:
            self._write_into_reserve(record, fault)
        current.size += size
        self._size += size
        # The size first: whoever reads in another thread goes by the number.
        self._last_seq = current.last_seq = seq
        written = Written(seq, kind, call_id, time_ms, payload)
        if kind == EVENT_KIND_INTENT:
            self._open_calls[call_id] = written
        elif kind == EVENT_KIND_SETTLE:
            self._open_calls.pop(call_id, None)
        self._syncer.wrote(seq)
        if self.on_append is not None:
            self.on_append(written)
        return seq

    async def synced(self, seq: int) -> None:
        """Return when event `seq` is on the disk. Raises JournalBroken when it may never be."""
        await self._syncer.wait(seq)

    def ack(self, seq: int) -> None:
        """Metering has everything up to `seq`: remember that and delete what is no longer needed."""
        if seq > self._last_seq:
            raise ValueError(f"event {seq} was never written")
        if seq <= self._acked:
            return
        self._acked = seq
        self._ack_file.write(seq)
        self._discard_acked()

    def read(self, from_seq: int) -> Iterator[UsageEvent]:
        """The events from `from_seq` to the last, from the files; events appended while it is read follow. May
        run in another thread. A record gone bad ends its segment and is counted in `faults`."""
        seq = from_seq
        while (segment := self._segment_from(seq)) is not None:
            was_corrupt, upto = segment.corrupt, segment.last_seq
            for event in segment.events(seq):
                yield event
                seq = event.seq + 1
            if segment.corrupt:
                self.faults.corrupt_segments += not was_corrupt
                seq = max(seq, upto + 1)

    def close(self) -> None:
        """Sync and close. Running calls stay open and are settled at the next start."""
        if self._closed:
            return
        self._closed = True
        try:
            self._syncer.stop()
            if self._acked == self._last_seq and not self._open_calls and self._current.size:
                self._start_afresh()
        finally:
            self.slots.close()
            self._reserve.release()
            self._ack_file.close()
            os.close(self._lock)

    def _check_room(self, kind: int) -> None:
        if self._closed:
            raise JournalError("the journal is closed")
        if self._syncer.error is not None:
            raise JournalBroken("the journal could not be synced to disk") from self._syncer.error
        if kind == EVENT_KIND_SETTLE:
            return
        if kind == EVENT_KIND_INTENT and (self._size >= self._intents_end or not self._reserve.held):
            raise JournalFull("the journal takes no new calls until metering has caught up")
        if kind == EVENT_KIND_CHECKPOINT and self._size >= self.limits.total_bytes:
            raise JournalFull("the journal is full")

    def _write_into_reserve(self, record: bytes, first: OSError) -> None:
        if not self._reserve.held:
            raise JournalFull("the disk is full") from first
        self._reserve.release()
        try:
            self._file.write(record)
        except OSError as second:
            raise JournalFull("the disk is full") from second

    def _next_segment(self) -> Segment:
        """The segment to write to: the newest if events can go on in it, else a new one."""
        if self._segments and self._segments[-1].last_seq == self._last_seq:
            return self._segments[-1]
        first_seq = self._last_seq + 1
        segment = Segment(segment_path(self._folder, self.producer_id, first_seq), first_seq, first_seq - 1)
        self._segments.append(segment)
        return segment

    def _rotate(self) -> Segment:
        first_seq = self._last_seq + 1
        path = segment_path(self._folder, self.producer_id, first_seq)
        try:
            file = self._open_file(path)
        except OSError as error:
            raise JournalFull("no new segment can be made") from error
        self._file = file
        self._current = Segment(path, first_seq, first_seq - 1)
        self._segments.append(self._current)
        self._syncer.switch(file)
        return self._current

    def _start_afresh(self) -> None:
        """Leave one empty segment, so that the next start has nothing to read. It keeps the numbering."""
        path = segment_path(self._folder, self.producer_id, self._last_seq + 1)
        file = self._open_file(path)
        file.sync()
        file.close()
        for segment in self._segments:
            segment.discard()

    def _segment_from(self, seq: int) -> Segment | None:
        filled = (segment for segment in tuple(self._segments) if segment.last_seq >= segment.first_seq)
        return next((segment for segment in filled if segment.last_seq >= seq), None)

    def _discard_acked(self) -> None:
        """Delete acked segments from the oldest on. One that holds the intent of a running call stays, for a
        crash must find it, until too much is kept; then the intents are written anew and it can go."""
        while self._segments[0] is not self._current and self._segments[0].last_seq <= self._acked:
            oldest = self._segments[0]
            if self._pins(oldest) and (
                self._acked_bytes() <= self.limits.pinned_bytes or not self._carry(oldest)
            ):
                return
            del self._segments[0]
            self._size -= oldest.size
            oldest.discard()

    def _pins(self, segment: Segment) -> Written | None:
        # Open calls stand in journal order: the first is the oldest.
        oldest = next(iter(self._open_calls.values()), None)
        return oldest if oldest is not None and oldest.seq <= segment.last_seq else None

    def _acked_bytes(self) -> int:
        return sum(segment.size for segment in self._segments if segment.last_seq <= self._acked)

    def _carry(self, segment: Segment) -> bool:
        """Write the segment's open intents anew, durably before the originals go. Delivering an intent twice
        changes nothing."""
        try:
            while (intent := self._pins(segment)) is not None:
                self._put(intent.event, EVENT_KIND_INTENT)
                self._open_calls[intent.call_id] = self._open_calls.pop(intent.call_id)  # now the newest
            self._syncer.sync_now()
        except JournalError:
            return False
        return True
