"""One event, one line of JSON, whatever the values hold."""

import re
import time
from collections.abc import Mapping
from functools import lru_cache

import orjson

# JSON escapes what is below U+0020. These too end lines, steer terminals or reorder text in some readers.
_STEERING = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def render(fields: Mapping[str, object]) -> bytes:
    """The fields as one JSON object and a newline. Values that JSON lacks become their `str`."""
    try:
        line = orjson.dumps(fields, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Lone surrogates, integers over 64 bits, keys that are no text, endless nesting.
        line = orjson.dumps(_representable(fields), option=orjson.OPT_APPEND_NEWLINE)
    if line.isascii() and b"\x7f" not in line:
        return line
    return _STEERING.sub(_escape, line.decode()).encode()


def iso_time(unix_ns: int) -> str:
    """UTC time with milliseconds, as `2026-11-21T09:12:00.123Z`."""
    return _iso_ms(unix_ns // 1_000_000)


# Lines of one batch share their few milliseconds.
@lru_cache(maxsize=64)
def _iso_ms(unix_ms: int) -> str:
    seconds, ms = divmod(unix_ms, 1000)
    return f"{_iso_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=16)
def _iso_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _representable(value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    if depth < 8 and isinstance(value, Mapping):
        return {_text(key): _representable(each, depth + 1) for key, each in value.items()}
    if depth < 8 and isinstance(value, list | tuple):
        return [_representable(each, depth + 1) for each in value]
    return _text(value)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()
