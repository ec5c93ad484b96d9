"""The one place where the journal touches the disk's durability, so that a test can put a disk under it that
loses power."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

_ZEROS = bytes(2**20)
# What posix_fallocate says of a file system that cannot promise blocks.
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class SegmentFile(Protocol):
    """An append-only file. `write` is durable only after a later `sync` returned. Behind what was written the
    file may hold zeros until it is closed."""

    def write(self, data: bytes) -> None:
        """Append all of `data` or nothing; it survives the death of the process. Raises OSError."""
        ...

    def sync(self) -> None:
        """Put everything written before the call on the disk. Called from the sync thread, also while the loop's
        thread writes. Raises OSError."""
        ...

    def close(self) -> None:
        """Release it, cut to what was written; does not sync. Raises OSError."""
        ...


OpenFile = Callable[[Path], SegmentFile]


def preallocates(folder: Path) -> bool:
    """Whether the file system can promise blocks, as mapped files must have."""
    with TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, 1)
        except OSError as fault:
            return fault.errno not in _UNSUPPORTED
    return True


def allocate(descriptor: int, start: int, size: int) -> None:
    """Give a file real blocks, zero where there is nothing yet: a hole that a full disk cannot fill would kill the
    process on a memory write. Raises OSError."""
    try:
        os.posix_fallocate(descriptor, start, size)
    except OSError as fault:
        if fault.errno not in _UNSUPPORTED:
            raise
        end = start + size
        for offset in range(max(start, os.fstat(descriptor).st_size), end, len(_ZEROS)):
            os.pwrite(descriptor, _ZEROS[: end - offset], offset)


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
