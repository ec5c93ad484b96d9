"""Booking: a batch of usage events goes into the ledger whole, and an event that cannot be booked holds up
nobody."""

from collections.abc import Iterable, Sequence

import structlog

from headgate.metering.v1 import metering_pb2
from headgate_metering.store import LedgerStore, UnusableBatchError
from headgate_metering.usage_event import Adjustment, Batch, DeadLetter, OpenCall, Settlement
from headgate_metering.wire import Event, dead_letter, read_event

log = structlog.get_logger()

Message = metering_pb2.UsageEvent


class Ledger:
    """Books usage events. Works on the generated messages: with a dead letter the message itself is kept."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    async def record(self, producer_id: str, messages: Sequence[Message]) -> None:
        """Returns once every event is in the ledger or among the dead letters. An empty batch is a sign of
        life: it keeps the producer's open calls from being swept."""
        events, letters = _read(messages)
        try:
            await self._store.record(_batch(producer_id, events, letters))
        except UnusableBatchError:
            # Rare and slow: one event is at fault, so each goes alone.
            for message in messages:
                await self._record_one(producer_id, message)
        if letters:
            log.warning(
                "usage events are unusable",
                producer_id=producer_id,
                events=len(letters),
                reason=letters[0].reason,
            )

    async def _record_one(self, producer_id: str, message: Message) -> None:
        events, letters = _read([message])
        try:
            await self._store.record(_batch(producer_id, events, letters))
        except UnusableBatchError as fault:
            log.warning("a usage event is unusable", producer_id=producer_id, reason=str(fault))
            await self._store.record(_batch(producer_id, [], [dead_letter(message, str(fault))]))


def _read(messages: Iterable[Message]) -> tuple[list[Event], list[DeadLetter]]:
    events: list[Event] = []
    letters: list[DeadLetter] = []
    for message in messages:
        try:
            events.append(read_event(message))
        except ValueError as reason:
            letters.append(dead_letter(message, str(reason)))
    return events, letters


def _batch(producer_id: str, events: Sequence[Event], letters: Sequence[DeadLetter]) -> Batch:
    return Batch(
        producer_id=producer_id,
        open_calls=tuple(event for event in events if isinstance(event, OpenCall)),
        settlements=tuple(event for event in events if isinstance(event, Settlement)),
        adjustments=tuple(event for event in events if isinstance(event, Adjustment)),
        dead_letters=tuple(letters),
    )
