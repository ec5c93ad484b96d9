"""The ledger in memory: the twin that every test of the SQL ledger is also run against."""

from collections.abc import Callable, Mapping

from headgate_metering.booking import Changes, Known, book, expire
from headgate_metering.store import Page
from headgate_metering.usage_event import (
    Adjustment,
    Batch,
    DeadLetter,
    OpenCall,
    Settlement,
    Usage,
    corrected,
)


class MemoryLedgerStore:
    """Dicts by call id."""

    def __init__(self) -> None:
        self._settled: dict[str, Settlement] = {}
        self._open: dict[str, OpenCall] = {}
        self._adjustments: dict[str, tuple[Adjustment, ...]] = {}
        self._letters: dict[str, DeadLetter] = {}
        self._beats: dict[str, int] = {}

    async def record(self, batch: Batch) -> None:
        """See LedgerStore."""
        self._apply(book(batch, self._known()))
        self._letters.update((each.digest, each) for each in batch.dead_letters)
        self._beats[batch.producer_id] = self._beats.get(batch.producer_id, 0) + 1

    def _known(self) -> Known:
        return Known(self._settled, self._open, self._adjustments)

    def _apply(self, changes: Changes) -> None:
        self._settled.update(changes.settlements)
        for adjustment in changes.adjustments.values():
            before = self._adjustments.get(adjustment.call_id, ())
            self._adjustments[adjustment.call_id] = (*before, adjustment)
        self._open.update(changes.opened)
        for call_id in changes.closed:
            self._open.pop(call_id, None)

    async def producers(self) -> Mapping[str, int]:
        """See LedgerStore."""
        producers = {each.call.producer_id for each in self._open.values()}
        return {producer: self._beats.get(producer, 0) for producer in producers}

    async def expire(
        self, silent: Mapping[str, int], settle: Callable[[OpenCall], Settlement], limit: int
    ) -> int:
        """See LedgerStore."""
        quiet = {producer for producer, beats in silent.items() if self._beats.get(producer, 0) == beats}
        found = [each for each in self._open.values() if each.call.producer_id in quiet][:limit]
        self._apply(expire(found, settle, self._known()))
        return len(found)

    async def usage(self, account_id: str, start_ms: int, end_ms: int) -> Mapping[str, Usage]:
        """See LedgerStore."""
        sums: dict[str, Usage] = {}
        for each in self._of(account_id):
            if start_ms <= each.call.started_at_ms < end_ms:
                usage = Usage(1, each.quantities, each.cost_nano_usd)
                sums[each.call.requested_model] = sums.get(each.call.requested_model, Usage()) + usage
        return sums

    async def records(self, account_id: str, after: Page | None, limit: int) -> list[Settlement]:
        """See LedgerStore."""
        newest = sorted(self._of(account_id), key=_place, reverse=True)
        if after is not None:
            newest = [each for each in newest if _place(each) < (after.started_at_ms, after.call_id)]
        return newest[:limit]

    async def record_of(self, account_id: str, call_id: str) -> Settlement | None:
        """See LedgerStore."""
        return next((each for each in self._of(account_id) if each.call.call_id == call_id), None)

    def _of(self, account_id: str) -> list[Settlement]:
        return [
            corrected(each, self._adjustments.get(call_id, ()))
            for call_id, each in self._settled.items()
            if each.call.account_id == account_id
        ]

    async def open_calls(self) -> list[OpenCall]:
        """See LedgerStore."""
        return [self._open[call_id] for call_id in sorted(self._open)]

    async def adjustments(self, call_id: str) -> list[Adjustment]:
        """See LedgerStore."""
        return sorted(self._adjustments.get(call_id, ()), key=lambda each: each.source)

    async def dead_letters(self) -> list[DeadLetter]:
        """See LedgerStore."""
        return [self._letters[digest] for digest in sorted(self._letters)]

    async def prepare(self, now_ms: int) -> None:
        """See LedgerStore."""

    async def close(self) -> None:
        """See LedgerStore."""


def _place(settlement: Settlement) -> tuple[int, str]:
    return settlement.call.started_at_ms, settlement.call.call_id
