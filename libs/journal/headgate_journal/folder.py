"""The small files of a journal's folder: its lock, its identity, how far metering has it, the disk reserve."""

import fcntl
import os
from pathlib import Path
from struct import Struct, error
from uuid import UUID, uuid4
from zlib import crc32

from headgate_clock import Clock
from headgate_journal.disk import allocate, replace_durably
from headgate_journal.errors import JournalLocked

_ACKED = Struct("<QI")
_RETRY_S = 1.0


def lock_folder(folder: Path) -> int:
    """Make the folder ours until the returned descriptor is closed, also by death. Raises JournalLocked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise JournalLocked(f"another process writes the journal in {folder}") from None
    return descriptor


def producer_of(folder: Path) -> str:
    """Who writes here: made once, then the same for as long as the folder lives."""
    path = folder / "producer"
    text = path.read_text().strip() if path.exists() else ""
    try:
        return str(UUID(text))
    except ValueError:
        producer_id = _producer_of_segments(folder) or str(uuid4())
        replace_durably(path, f"{producer_id}\n".encode())
        return producer_id


def _producer_of_segments(folder: Path) -> str | None:
    """Events are never given a second identity because the file that names it was lost."""
    names = {path.name.rpartition("-")[0] for path in folder.glob("*-*-*-*-*-*")}
    for name in sorted(names):
        try:
            return str(UUID(name))
        except ValueError:
            continue
    return None


class AckFile:
    """The last sequence number that metering has. Not synced: losing it only means sending again."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> int:
        """The number, 0 when there is none or it does not check out."""
        data = os.pread(self._descriptor, _ACKED.size, 0)
        try:
            seq, checksum = _ACKED.unpack(data)
        except error:
            return 0
        return int(seq) if crc32(data[:8]) == checksum else 0

    def write(self, seq: int) -> None:
        """Remember the number."""
        text = seq.to_bytes(8, "little")
        os.pwrite(self._descriptor, text + crc32(text).to_bytes(4, "little"), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class Reserve:
    """Disk space kept free for the settles of running calls, for when everything else is full."""

    def __init__(self, path: Path, size: int, clock: Clock) -> None:
        self._path = path
        self._size = size
        self._clock = clock
        self._next_try = clock.monotonic()
        self._held = False

    @property
    def held(self) -> bool:
        """Whether the space is ours; tries again to get it, once a second."""
        if not self._held and self._clock.monotonic() >= self._next_try:
            self.take()
        return self._held

    def take(self) -> None:
        """Occupy the space; without it when the disk has none."""
        self._next_try = self._clock.monotonic() + _RETRY_S
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if self._size:
                allocate(descriptor, 0, self._size)
            self._held = True
        except OSError:
            self._path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give the space to the journal."""
        self._path.unlink(missing_ok=True)
        self._held = False
        self._next_try = self._clock.monotonic() + _RETRY_S
