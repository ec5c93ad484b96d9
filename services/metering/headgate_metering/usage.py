"""What an account has used: sums over a period and the single calls."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from headgate_clock import Clock
from headgate_metering.store import LedgerStore, Page
from headgate_metering.usage_event import Settlement, Usage
from headgate_rpc.errors import HeadgateError, Reason

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 200
_LATEST_MS = 253_402_300_800_000  # the year 10000, where dates end


@dataclass(frozen=True, slots=True)
class Period:
    """Milliseconds since the Unix epoch, start inclusive, end exclusive."""

    start_ms: int
    end_ms: int

    @property
    def start(self) -> datetime:
        """The start as a date, UTC."""
        return datetime.fromtimestamp(self.start_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Report:
    """Sums of a period by requested model."""

    period: Period
    models: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class Records:
    """One page of settled calls; the token is empty on the last."""

    settlements: list[Settlement]
    next_page_token: str = ""


class UsageQuery:
    """Answers questions of one account about itself."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def report(self, account_id: str, start_ms: int, end_ms: int) -> Report:
        """Sums over a period; 0 stands for the bounds of this calendar month, UTC (USE-2).
        Raises HeadgateError INVALID_REQUEST when it ends before it starts."""
        month = month_of(self._clock.wall_ms())
        period = Period(start_ms or month.start_ms, end_ms or month.end_ms)
        if not 0 <= period.start_ms <= period.end_ms:
            raise HeadgateError(Reason.INVALID_REQUEST, "The period ends before it starts.", field="end")
        if period.end_ms > _LATEST_MS:
            raise HeadgateError(Reason.INVALID_REQUEST, "The period ends too late.", field="end")
        return Report(period, await self._store.usage(account_id, period.start_ms, period.end_ms))

    async def record_of(self, account_id: str, call_id: str) -> Records:
        """The one record of a call; none when it is another account's."""
        found = await self._store.record_of(account_id, call_id) if _is_call_id(call_id) else None
        return Records([found] if found else [])

    async def records(self, account_id: str, page_size: int, page_token: str) -> Records:
        """A page of settled calls, newest first. Raises HeadgateError INVALID_REQUEST for a wrong size or
        token."""
        if page_size > _LARGEST_PAGE:
            message = f"page_size is at most {_LARGEST_PAGE}."
            raise HeadgateError(Reason.INVALID_REQUEST, message, field="page_size")
        size = page_size or _DEFAULT_PAGE
        found = await self._store.records(account_id, _read_token(page_token), size + 1)
        if len(found) <= size:
            return Records(found)
        return Records(found[:size], _token(found[size - 1]))


def month_of(now_ms: int) -> Period:
    """The calendar month, UTC, that a moment lies in."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    start = datetime(now.year, now.month, 1, tzinfo=UTC)
    end = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return Period(round(start.timestamp()) * 1000, round(end.timestamp()) * 1000)


def _token(last: Settlement) -> str:
    place = f"{last.call.started_at_ms}:{last.call.call_id}"
    return base64.urlsafe_b64encode(place.encode()).decode()


def _read_token(token: str) -> Page | None:
    if not token:
        return None
    try:
        started_at, separator, call_id = base64.urlsafe_b64decode(token).decode().partition(":")
        page = Page(int(started_at), call_id)
    except (binascii.Error, ValueError):
        separator, page = "", Page(0, "")
    if not separator or not _is_call_id(page.call_id) or not 0 <= page.started_at_ms <= _LATEST_MS:
        raise HeadgateError(Reason.INVALID_REQUEST, "page_token is not one of ours.", field="page_token")
    return page


def _is_call_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
