"""The few pieces of protobuf's wire format that spans need, written by hand.

Measured on spans of this suite: the three of one call take 35 µs through the generated messages and 5 µs like
this. A test parses every span with the generated messages and compares it with the SDK's.
"""

import struct
from collections.abc import Callable, Mapping

from headgate_telemetry.attributes import Value
from headgate_telemetry.redact import MAX_TEXT

_BYTE = tuple(bytes((number,)) for number in range(128))
_DOUBLE = struct.Struct("<d").pack
_KEYS: dict[str, bytes] = {}
_64_BITS = (1 << 64) - 1
# Holds every request id, call id and address.
_SHORT = 65


def varint(number: int) -> bytes:
    """A non-negative integer below 2**64, seven bits a byte, least first."""
    if number < 128:
        return _BYTE[number]
    # Nearly all numbers of a span have two or three bytes.
    if number < 1 << 14:
        return (number & 127 | 128 | number >> 7 << 8).to_bytes(2, "little")
    if number < 1 << 21:
        return (number & 127 | 128 | (number >> 7 & 127 | 128) << 8 | number >> 14 << 16).to_bytes(
            3, "little"
        )
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(tag: bytes, payload: bytes) -> bytes:
    """A string, bytes or message field; `tag` is its number * 8 + 2."""
    length = len(payload)
    return tag + (_BYTE[length] if length < 128 else varint(length)) + payload


def text(value: str) -> bytes:
    """UTF-8, cut to the longest text that is shown; lone surrogates become `?`."""
    return value[:MAX_TEXT].encode("utf-8", "replace")


def attributes(tag: bytes, values: Mapping[str, Value]) -> bytes:
    """A repeated KeyValue field (opentelemetry.proto.common.v1)."""
    return b"".join(
        [field(tag, _key(key) + field(b"\x12", _any_value(value))) for key, value in values.items()]
    )


def text_attribute(tag: bytes, key: str) -> Callable[[str], bytes]:
    """What writes a text under this key as `attributes` does, at a third of its cost: the bytes before a short
    text depend on its length alone."""
    heads = [attributes(tag, {key: "x" * length})[: -length or None] for length in range(_SHORT)]

    def write(value: str) -> bytes:
        if len(value) < _SHORT and value.isascii():
            return heads[len(value)] + value.encode()
        return attributes(tag, {key: value})

    return write


def integer_attribute(tag: bytes, key: str) -> Callable[[int], bytes]:
    """What writes an integer of 64 bits under this key as `attributes` does."""
    heads = [b""]
    for length in range(1, 11):
        # The least number whose encoding is so long.
        heads.append(attributes(tag, {key: 1 << 7 * length - 7 if length > 1 else 0})[:-length])

    def write(value: int) -> bytes:
        encoded = varint(value & _64_BITS)
        return heads[len(encoded)] + encoded

    return write


def float_attribute(tag: bytes, key: str) -> Callable[[float], bytes]:
    """What writes a float under this key as `attributes` does."""
    head = attributes(tag, {key: 0.0})[:-8]

    def write(value: float) -> bytes:
        return head + _DOUBLE(value)

    return write


def _key(name: str) -> bytes:
    # Names are constants of `genai.py`, so this stays small.
    encoded = _KEYS.get(name)
    if encoded is None:
        encoded = _KEYS[name] = field(b"\x0a", name.encode())
    return encoded


def _any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return field(b"\x0a", text(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value & _64_BITS)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    return field(b"\x2a", b"".join([field(b"\x0a", _any_value(each)) for each in value]))
