"""The one place where the journal touches the disk's durability, so that a test can put a disk under it that
loses power."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class SegmentFile(Protocol):
    """An append-only file. `write` is durable only after a later `sync` returned."""

    def write(self, data: bytes) -> None:
        """Append all of `data` or nothing. Raises OSError."""
        ...

    def sync(self) -> None:
        """Put everything written before the call on the disk. Called from the sync thread. Raises OSError."""
        ...

    def close(self) -> None:
        """Release it; does not sync."""
        ...


OpenFile = Callable[[Path], SegmentFile]


class DiskFile:
    """A segment on a real disk. The file's own entry in its folder is synced with its first content."""

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


def sync_folder(folder: Path) -> None:
    """Make created, renamed and removed names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, content: bytes) -> None:
    """Give `path` this content in one step: after a power cut it holds the old or the new, whole."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)
