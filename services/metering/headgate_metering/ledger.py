"""Booking: a batch of usage events goes into the ledger whole, and an event that cannot be booked holds up
nobody."""

from collections.abc import Iterable, Sequence

import structlog

from headgate.metering.v1 import metering_pb2
from headgate_metering.store import LedgerStore, UnusableBatchError
from headgate_metering.usage_event import Adjustment, Batch, DeadLetter, OpenCall, Settlement
from headgate_metering.wire import dead_letter, read_event

log = structlog.get_logger()

Message = metering_pb2.UsageEvent


class Ledger:
    """Books usage events. Works on the generated messages: with a dead letter the message itself is kept."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    async def record(self, producer_id: str, messages: Sequence[Message]) -> None:
        """Returns once every event is in the ledger or among the dead letters. An empty batch is a sign of
        life: it keeps the producer's open calls from being swept. Raises StoreAwayError: then nothing may be
        in the ledger and the batch must come again."""
        batch = _read(producer_id, messages)
        try:
            await self._store.record(batch)
        except UnusableBatchError:
            # Rare and slow: one event is at fault, so each goes alone.
            for message in messages:
                await self._record_one(producer_id, message)
        if batch.dead_letters:
            log.warning(
                "usage events are unusable",
                producer_id=producer_id,
                events=len(batch.dead_letters),
                reason=batch.dead_letters[0].reason,
            )

    async def _record_one(self, producer_id: str, message: Message) -> None:
        try:
            await self._store.record(_read(producer_id, [message]))
        except UnusableBatchError as fault:
            log.warning("a usage event is unusable", producer_id=producer_id, reason=str(fault))
            letter = dead_letter(message, str(fault))
            await self._store.record(Batch(producer_id, dead_letters=[letter]))


def _read(producer_id: str, messages: Iterable[Message]) -> Batch:
    settlements: list[Settlement] = []
    open_calls: list[OpenCall] = []
    adjustments: list[Adjustment] = []
    letters: list[DeadLetter] = []
    for message in messages:
        try:
            event = read_event(message)
        except ValueError as reason:
            letters.append(dead_letter(message, str(reason)))
            continue
        if isinstance(event, Settlement):
            settlements.append(event)
        elif isinstance(event, OpenCall):
            open_calls.append(event)
        else:
            adjustments.append(event)
    return Batch(producer_id, open_calls, settlements, adjustments, letters)
