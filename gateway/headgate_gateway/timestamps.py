"""Timestamps as the API writes them (GEN-8): ISO 8601 in UTC with a `Z`, and days."""

import re
from datetime import UTC, datetime

from headgate_gateway.strict_json import malformed

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY_MS = 86_400_000


def parse_ts(text: str, field: str) -> int:
    """Milliseconds since the Unix epoch of a full timestamp. Raises Malformed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise malformed(f"Field '{field}' must be a timestamp such as 2024-07-15T00:00:00Z.", field)
    return _ms(moment, field)


def parse_start(text: str, field: str) -> int:
    """Milliseconds of a timestamp, or of the start of a day (UTC). Raises Malformed."""
    if not _DAY.fullmatch(text):
        return parse_ts(text, field)
    try:
        return _ms(datetime.fromisoformat(text).replace(tzinfo=UTC), field)
    except ValueError:
        raise malformed(f"Field '{field}' is not a day that exists.", field) from None


def parse_end(text: str, field: str) -> int:
    """The first millisecond after an inclusive end: a day ends at its midnight, a timestamp with its second.
    Raises Malformed."""
    if _DAY.fullmatch(text):
        return parse_start(text, field) + _DAY_MS
    return parse_ts(text, field) // 1000 * 1000 + 1000


def format_ts(ms: int) -> str:
    """`2024-01-15T10:30:00Z` of milliseconds since the Unix epoch."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_ts_or_none(ms: int) -> str | None:
    """The same, or None for 0, which means never."""
    return format_ts(ms) if ms else None


def _ms(moment: datetime, field: str) -> int:
    try:
        return int(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        raise malformed(f"Field '{field}' is out of range.", field) from None
