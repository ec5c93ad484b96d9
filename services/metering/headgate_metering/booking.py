"""What a batch changes in the ledger, given what the ledger knows of its calls: the rules of exactly-once, apart
from any store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from headgate_metering.usage_event import (
    DAY_MS,
    Adjustment,
    Batch,
    Call,
    OpenCall,
    Outcome,
    Settlement,
    Usage,
    late_adjustment,
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger holds of the calls of a batch, by call id."""

    settled: Mapping[str, Settlement]
    open_calls: Mapping[str, OpenCall]
    adjustments: Mapping[str, tuple[Adjustment, ...]]


class DayKey(Struct, frozen=True, gc=False):
    """One line of the daily sums; `day` counts from the Unix epoch, UTC."""

    account_id: str
    day: int
    requested_model: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written, all of it together; every settlement and adjustment is new."""

    settlements: dict[str, Settlement] = field(default_factory=dict)
    adjustments: dict[tuple[str, str], Adjustment] = field(default_factory=dict)
    opened: dict[str, OpenCall] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    usage: dict[DayKey, Usage] = field(default_factory=dict)


def call_ids(batch: Batch) -> set[str]:
    """The calls that a batch speaks of."""
    ids = {each.call.call_id for each in batch.settlements}
    ids.update(each.call.call_id for each in batch.open_calls)
    ids.update(each.call_id for each in batch.adjustments)
    return ids


def book(batch: Batch, known: Known) -> Changes:
    """The changes of a batch. The first settle of a call counts and later ones change nothing, except that the first
    one that corrects it (see `_corrects`) becomes an adjustment."""
    changes = Changes()
    for settlement in batch.settlements:
        _settle(settlement, known, changes)
    for adjustment in batch.adjustments:
        _adjust(adjustment, known, changes)
    for open_call in batch.open_calls:
        _open(open_call, known, changes)
    return changes


def expire(open_calls: Iterable[OpenCall], settle: Callable[[OpenCall], Settlement], known: Known) -> Changes:
    """The changes that settle open calls; one without an intent has nobody to bill and is only closed."""
    found = list(open_calls)
    changes = book(Batch("", settlements=tuple(settle(each) for each in found if each.begun)), known)
    changes.closed.update(each.call.call_id for each in found)
    return changes


def _settle(settlement: Settlement, known: Known, changes: Changes) -> None:
    call_id = settlement.call.call_id
    booked = _booked(call_id, known, changes)
    if booked is None:
        changes.settlements[call_id] = settlement
        _count(changes, settlement.call, Usage(1, settlement.quantities, settlement.cost_nano_usd))
        # Corrections that came before their call.
        for early in known.adjustments.get(call_id, ()):
            _count(changes, settlement.call, _difference(early))
    elif _corrects(settlement, booked):
        _adjust(late_adjustment(settlement, booked), known, changes)
    if call_id in known.open_calls:
        changes.closed.add(call_id)


def _corrects(late: Settlement, booked: Settlement) -> bool:
    """Whether a later settle of a call is nearer to the truth. The sweeper's is an estimate. And a call that was lost
    with its process may have been sent again to another one, which knows what became of it."""
    if late.swept or booked.swept:
        return not late.swept and booked.swept
    if booked.ending.outcome != Outcome.EXPIRED or late.call.producer_id == booked.call.producer_id:
        return False
    more = late.quantities.output_tokens > booked.quantities.output_tokens
    return more or late.ending.outcome != Outcome.EXPIRED


def _adjust(adjustment: Adjustment, known: Known, changes: Changes) -> None:
    key = adjustment.call_id, adjustment.source
    if key in changes.adjustments or _holds(known.adjustments.get(adjustment.call_id, ()), adjustment.source):
        return
    changes.adjustments[key] = adjustment
    booked = _booked(adjustment.call_id, known, changes)
    if booked is not None:
        _count(changes, booked.call, _difference(adjustment))


def _open(open_call: OpenCall, known: Known, changes: Changes) -> None:
    call_id = open_call.call.call_id
    if _booked(call_id, known, changes) is None:
        before = changes.opened.get(call_id) or known.open_calls.get(call_id)
        changes.opened[call_id] = open_call if before is None else _merged(before, open_call)


def _merged(before: OpenCall, news: OpenCall) -> OpenCall:
    """The facts of the intent, the output of the newest checkpoint; which of them came first does not matter."""
    newest = max(before, news, key=lambda each: each.progress_seq)
    input_tokens = max(before.progress.input_tokens, news.progress.input_tokens)
    return replace(
        news if news.begun else before,
        progress=replace(newest.progress, input_tokens=input_tokens),
        progress_seq=newest.progress_seq,
    )


def _booked(call_id: str, known: Known, changes: Changes) -> Settlement | None:
    return changes.settlements.get(call_id) or known.settled.get(call_id)


def _holds(adjustments: Iterable[Adjustment], source: str) -> bool:
    return any(each.source == source for each in adjustments)


def _difference(adjustment: Adjustment) -> Usage:
    return Usage(0, adjustment.quantities, adjustment.cost_nano_usd)


def _count(changes: Changes, call: Call, usage: Usage) -> None:
    key = DayKey(call.account_id, call.started_at_ms // DAY_MS, call.requested_model)
    before = changes.usage.get(key)
    changes.usage[key] = usage if before is None else before + usage
