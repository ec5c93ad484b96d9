"""Segments on a real disk: in mapped memory where the file system can promise blocks, else by plain writes. The
file's own entry in its folder is synced with its first content."""

import mmap
import os
from pathlib import Path

from headgate_journal.disk import SegmentFile, allocate, preallocates, sync_folder

# Large enough that growing costs nothing per record, small beside the reserve that a full disk leaves.
GROWTH_BYTES = 256 * 1024


def open_segment(path: Path) -> SegmentFile:
    """Open or make a segment. Raises OSError."""
    return MappedFile(path) if preallocates(path.parent) else PlainFile(path)


class PlainFile:
    """One system call for each record."""

    __slots__ = ("_descriptor", "_entry_synced", "_folder", "_size")

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        self._folder = path.parent
        self._entry_synced = False

    def write(self, data: bytes) -> None:
        """Append all of `data` or nothing. Raises OSError."""
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                raise OSError(f"only {written} of {len(data)} bytes were written")
        except OSError:
            # Half a record must not stay: the next one would be taken for its other half.
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += written

    def sync(self) -> None:
        """Put everything written before the call on the disk. Raises OSError."""
        os.fdatasync(self._descriptor)
        if not self._entry_synced:
            sync_folder(self._folder)
            self._entry_synced = True

    def close(self) -> None:
        """Release it; does not sync."""
        os.close(self._descriptor)


class MappedFile:
    """A memory copy for each record: no system call, so nothing at which the loop's thread could lose the
    interpreter to another. The file is as long as its mapping, and all its blocks are there, so that a full disk
    is an error of `write` and never a signal."""

    __slots__ = ("_descriptor", "_entry_synced", "_folder", "_map", "_room", "_used")

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._used = self._room = os.fstat(self._descriptor).st_size
        self._map = mmap.mmap(-1, mmap.PAGESIZE)  # never written to: there is no room yet
        self._folder = path.parent
        self._entry_synced = False

    def write(self, data: bytes) -> None:
        """Append all of `data` or nothing. Raises OSError."""
        used = self._used
        end = used + len(data)
        if end > self._room:
            self._grow(end)
        self._map[used:end] = data
        self._used = end

    def sync(self) -> None:
        """Put everything written before the call on the disk. Raises OSError."""
        # Not mmap.flush: that would hold the interpreter for as long as the disk takes.
        os.fdatasync(self._descriptor)
        if not self._entry_synced:
            sync_folder(self._folder)
            self._entry_synced = True

    def close(self) -> None:
        """Release it, cut to what was written; does not sync. Raises OSError."""
        self._map.close()
        try:
            os.ftruncate(self._descriptor, self._used)
        finally:
            os.close(self._descriptor)

    def _grow(self, end: int) -> None:
        room = -(-end // GROWTH_BYTES) * GROWTH_BYTES
        try:
            allocate(self._descriptor, self._room, room - self._room)
            memory = mmap.mmap(self._descriptor, room)
        except OSError:
            # What was had in part is free again for the try that follows.
            os.ftruncate(self._descriptor, self._room)
            raise
        self._map.close()
        self._map = memory
        self._room = room
