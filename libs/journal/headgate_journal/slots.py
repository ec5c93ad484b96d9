"""Progress of running calls in a memory-mapped file: what was stored there is read back after `kill -9`, at
the price of a memory write.

A slot is 32 bytes: call id (16, zero when free), u32 units, 12 unused."""

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from uuid import UUID

from headgate_journal.disk import allocate

_SLOT_BYTES = 32
_UNITS = Struct("<I")
_UNITS_OFFSET = 16
_UNITS_LIMIT = 2**32 - 1
_NOBODY = bytes(16)


class Slot:
    """The progress of one call."""

    __slots__ = ("_map", "_offset", "_slots")

    def __init__(self, slots: "ProgressSlots", memory: mmap.mmap, offset: int) -> None:
        self._slots = slots
        self._map = memory
        self._offset = offset

    def update(self, units: int) -> None:
        """Store how many units the provider has sent so far."""
        _UNITS.pack_into(self._map, self._offset + _UNITS_OFFSET, units)

    def release(self) -> None:
        """Free the slot; it must not be touched again."""
        self._map[self._offset : self._offset + _UNITS_OFFSET] = _NOBODY
        self._slots.free(self._offset)


class ProgressSlots:
    """All slots of one process. `survivors` is what the process before left behind."""

    def __init__(self, path: Path, count: int) -> None:
        self.survivors: Mapping[str, int] = _survivors(path)
        self._map = _map_file(path, count * _SLOT_BYTES)
        self._free = [number * _SLOT_BYTES for number in reversed(range(count))]
        self.count = count

    @property
    def in_use(self) -> int:
        """Slots held by running calls."""
        return self.count - len(self._free)

    def claim(self, call_id: str, units: int = 0) -> Slot | None:
        """A slot for a call (UUID text) that has got so many units, or None when all are taken."""
        if not self._free:
            return None
        identity = bytes.fromhex(call_id.replace("-", ""))
        if len(identity) != _UNITS_OFFSET:
            raise ValueError("a call id is a UUID")
        offset = self._free.pop()
        # The units first: a crash in between must not give this call the units of the one before.
        _UNITS.pack_into(self._map, offset + _UNITS_OFFSET, units)
        self._map[offset : offset + _UNITS_OFFSET] = identity
        return Slot(self, self._map, offset)

    def free(self, offset: int) -> None:
        """Take a released slot back."""
        self._free.append(offset)

    def forget_survivors(self) -> None:
        """Clear every slot; only once what they said stands in the journal."""
        self._map[:] = bytes(len(self._map))
        self.survivors = {}

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()


def _map_file(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)
        allocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _survivors(path: Path) -> Mapping[str, int]:
    data = path.read_bytes() if path.exists() else b""
    found = {}
    for offset in range(0, len(data) - _SLOT_BYTES + 1, _SLOT_BYTES):
        identity = data[offset : offset + _UNITS_OFFSET]
        if identity != _NOBODY:
            (units,) = _UNITS.unpack_from(data, offset + _UNITS_OFFSET)
            found[str(UUID(bytes=identity))] = units
    return found
