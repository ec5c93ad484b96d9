"""Segment files `<producer>-<first seq>`: found, read, repaired."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from headgate.metering.v1.metering_pb2 import UsageEvent
from headgate_journal.disk import replace_durably
from headgate_journal.frames import Verdict, frames, judge


@dataclass(slots=True)
class Segment:
    """One file. `last_seq` is `first_seq - 1` while it is empty; `size` counts bytes of good records."""

    path: Path
    first_seq: int
    last_seq: int
    size: int = 0
    corrupt: bool = False

    def events(self, from_seq: int) -> Iterator[UsageEvent]:
        """The events from `from_seq` on that stood in the file when the reading began. Ends early, and marks
        the segment, at a record that has gone bad."""
        last_seq = self.last_seq
        with self.path.open("rb") as file:
            data = file.read(self.size)  # what lies behind is room for more
        for record in frames(data):
            event = UsageEvent.FromString(record.payload)
            if event.seq > last_seq:
                return
            if event.seq >= from_seq:
                yield event
            if event.seq == last_seq:
                return
        self.corrupt = True

    def discard(self) -> None:
        """Remove the file; one that was found bad is kept aside for whoever looks into it."""
        if self.corrupt:
            keep_aside(self.path)
        else:
            self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class Faults:
    """Alarms since the journal was opened: tails cut off by a crash, segments damaged elsewhere, and places
    where unacked sequence numbers are missing between two segments."""

    torn_tails: int = 0
    corrupt_segments: int = 0
    gaps: int = 0


def segment_path(folder: Path, producer_id: str, first_seq: int) -> Path:
    """Where the segment lies that starts with `first_seq`."""
    return folder / f"{producer_id}-{first_seq:016d}"


def find_segments(folder: Path, producer_id: str) -> list[Segment]:
    """The producer's segments, oldest first, not yet read."""
    found = []
    for path in folder.glob(f"{producer_id}-*"):
        number = path.name.removeprefix(f"{producer_id}-")
        if number.isdecimal():
            first_seq = int(number)
            found.append(Segment(path, first_seq, first_seq - 1))
    return sorted(found, key=lambda segment: segment.first_seq)


def repair(segment: Segment, faults: Faults, *, newest: bool) -> list[UsageEvent]:
    """Read a segment at start; cut what is not readable, count why, and give the events before it.

    A torn tail is ordinary in the newest segment alone. In another it raises the alarm, although a power cut in
    the milliseconds around a change of segments can leave one, too; and so does a hole that a power cut left in
    what was not synced yet, since memory pages reach the disk in any order."""
    data = segment.path.read_bytes()
    events = []
    for record in frames(data):
        event = _parsed(record.payload)
        if event is None or event.seq != segment.last_seq + 1:
            break
        events.append(event)
        segment.last_seq = event.seq
        segment.size = record.end
    verdict = judge(data, segment.size)
    if verdict is Verdict.TORN and newest:
        faults.torn_tails += 1
        replace_durably(segment.path, data[: segment.size])
    elif verdict is not Verdict.WHOLE:
        faults.corrupt_segments += 1
        keep_aside(segment.path)
        replace_durably(segment.path, data[: segment.size])
    elif len(data) > segment.size:
        os.truncate(segment.path, segment.size)
    return events


def _parsed(payload: bytes) -> UsageEvent | None:
    try:
        return UsageEvent.FromString(payload)
    except DecodeError:
        return None


def keep_aside(path: Path) -> None:
    """Rename a damaged file so that nothing reads it as a segment again; an earlier one is not overwritten."""
    for number in range(1000):
        aside = path.with_name(f"{path.name}.corrupt" + (f".{number}" if number else ""))
        if not aside.exists():
            path.replace(aside)
            return
