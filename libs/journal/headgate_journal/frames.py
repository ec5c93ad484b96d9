"""The record format: u32 length, u32 CRC-32 of the payload, payload (little endian, no padding). Behind the last
record there is nothing, or zeros that were made room for and not used."""

from collections.abc import Iterator
from enum import Enum
from struct import Struct
from typing import NamedTuple
from zlib import crc32

_HEADER = Struct("<II")
HEADER_BYTES = _HEADER.size
# Far above any usage event: a longer length is damage, and bounds what a search has to check.
PAYLOAD_LIMIT = 64 * 1024


class Verdict(Enum):
    """How a segment reads: whole, cut off in its last record, or damaged with records after the damage."""

    WHOLE = "whole"
    TORN = "torn"
    CORRUPT = "corrupt"


class Frame(NamedTuple):
    """One good record and the offset after it."""

    payload: bytes
    end: int


def frame(payload: bytes) -> bytes:
    """The record that holds `payload`. Raises ValueError when it is empty or over 64 KiB."""
    length = len(payload)
    if not 0 < length <= PAYLOAD_LIMIT:
        raise ValueError(f"a journal record holds 1 to {PAYLOAD_LIMIT} bytes, not {length}")
    return _HEADER.pack(length, crc32(payload)) + payload


def frames(data: bytes, start: int = 0) -> Iterator[Frame]:
    """The good records from offset `start` up to the first bad one or the end."""
    offset = start
    while (good := _frame_at(data, offset)) is not None:
        yield good
        offset = good.end


def judge(data: bytes, good_end: int) -> Verdict:
    """What lies after the last good record. A record that checks out behind the damage means that the damage
    is in the middle; it is looked for only to tell the two apart, never used, since what stood between is
    unknown."""
    written_end = len(data.rstrip(b"\0"))
    if written_end <= good_end:
        return Verdict.WHOLE
    found = any(_frame_at(data, offset) is not None for offset in range(good_end, written_end))
    return Verdict.CORRUPT if found else Verdict.TORN


def _frame_at(data: bytes, offset: int) -> Frame | None:
    start = offset + HEADER_BYTES
    if start > len(data):
        return None
    length, checksum = _HEADER.unpack_from(data, offset)
    end = start + length
    if not 0 < length <= PAYLOAD_LIMIT or end > len(data):
        return None
    payload = data[start:end]
    return Frame(payload, end) if crc32(payload) == checksum else None
