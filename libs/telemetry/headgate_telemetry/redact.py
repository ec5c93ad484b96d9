"""The one exit for text that people wrote: what looks like a credential leaves as `***`, what is long is cut."""

import re
from collections.abc import Mapping

MAX_TEXT = 256
"""Longest text value of a log line or span, in characters; tracebacks get 16 times that."""

MASK = "***"

# An account of the suite's keys may show `sk-hg-<id>`; whatever follows the id must not be shown.
_CREDENTIAL = re.compile(
    r"(?P<keep>sk-hg-[A-Za-z0-9]{1,24}+)[\w-]+"
    r"|(?P<scheme>sk-)(?!hg-)[\w-]{8,}"
    r"|(?P<bearer>\b(?:[Bb]earer|BEARER)\s+)[^\s\"',;]+"
    # Base64, not the next word of a sentence.
    r"|(?P<basic>\b(?:[Bb]asic|BASIC)\s+)(?=[a-z+/]*[A-Z0-9=])[A-Za-z0-9+/]{6,}={0,2}"
    r"|(?P<jwt>eyJ)[\w-]{6,}\.[\w-]*(?:\.[\w-]*)?"
    r"|(?P<google>AIza)[\w-]{20,}"
    r"|(?P<url>://)[^/\s@]+@",
    re.ASCII,
)
_MARKS = re.compile(r"sk-|earer|EARER|asic|ASIC|eyJ|AIza|@")

_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:authorization|cookie|passw(?:or)?d|passphrase|secret|credential|token|pepper|"
    r"(?:api|private|secret|access)?[_-]?key)s?$",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` with everything that looks like a credential masked; key prefixes such as `sk-hg-<id>` stay."""
    if _MARKS.search(text) is None:
        return text
    return _CREDENTIAL.sub(_mask, text)


def clean(text: str, longest: int = MAX_TEXT) -> str:
    """`redact`, then cut to `longest` characters."""
    if len(text) <= longest and _MARKS.search(text) is None:
        return text  # as nearly all of them
    # Redaction sees more than will be shown, so that a key across the cut is not half left.
    return redact(text[: longest * 4])[:longest]


def clean_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Log fields with texts cleaned, at any depth; text under a name such as `password` becomes `***`."""
    return {name: _clean_value(name, value) for name, value in fields.items()}


def _clean_value(name: str, value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, str):
        return clean(value, MAX_TEXT * 16 if name == "exception" else MAX_TEXT)
    if depth == 4:
        return MASK
    if isinstance(value, Mapping):
        return {
            clean(str(key)): _clean_value(str(key), each, depth + 1) for key, each in list(value.items())[:64]
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean_value("", each, depth + 1) for each in list(value)[:64]]
    return clean(str(value))


def _mask(match: re.Match[str]) -> str:
    if match["url"]:
        return f"://{MASK}@"
    kept = next(group for group in match.groups() if group)
    return f"{kept}{MASK}"
