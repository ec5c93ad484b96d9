"""The accounting of one call: intent before the first provider byte, progress while it runs, one settle."""

from msgspec import Struct

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    Outcome,
    Quantities,
    UsageEvent,
)
from headgate.registry.v1.registry_pb2 import Price
from headgate_journal.errors import JournalFull
from headgate_journal.journal import Journal
from headgate_journal.slots import Slot
from headgate_money import FLAT, Rates, TokenCounts

CHECKPOINT_UNITS = 32
_ID_LENGTH = 36


class Settlement(Struct, frozen=True, gc=False):
    """How a call ended. Times in milliseconds; `price` only where another one holds than the intent's, after a
    fallback to another model."""

    outcome: "Outcome.ValueType"
    counts: TokenCounts
    model: str
    provider: str
    estimated: bool = False
    latency_ms: int = 0
    first_token_ms: int = 0
    attempts: int = 0
    error_reason: str = ""
    price: Price | None = None


class MeteredCall:
    """One call between its intent and its settle. Nothing here awaits, so no cancellation can come between
    the steps."""

    __slots__ = (
        "_checkpoint",
        "_event",
        "_journal",
        "_rates",
        "_slot",
        "_slotless",
        "seq",
        "settled",
        "units",
    )

    settled: UsageEvent | None
    """The settle event, once there is one."""

    def __init__(self, journal: Journal, intent: UsageEvent, rates: Rates | None = None) -> None:
        """Append the intent, which must say whatever its settle shall say of the caller, the model, the price,
        the worst case, and the input tokens as estimated; `rates` are those of its price. `kind` is filled in, and
        the object becomes the settle in the end. Raises JournalFull: refuse the call. With `sync: always`, await
        `journal.synced(call.seq)` before the provider is called."""
        if len(intent.call.call_id) != _ID_LENGTH:
            raise ValueError("a call id is a UUID")
        intent.kind = EVENT_KIND_INTENT
        self._journal = journal
        self._event = intent
        self._rates = rates or Rates.of(intent.price if intent.HasField("price") else FLAT)
        self.settled = None
        self._checkpoint = CHECKPOINT_UNITS
        self.units = 0
        # Claimed with the first progress: a call whose reply comes whole has none.
        self._slot: Slot | None = None
        self._slotless = False
        self.seq = journal.append(intent)

    def progress(self, units: int) -> None:
        """The provider has sent `units` so far. Call it before the units are written to the caller: what the
        caller has is then billed, whatever happens."""
        self.units = units
        if self._slot is not None:
            self._slot.update(units)
        elif not self._slotless:
            self._slot = self._journal.slots.claim(self._event.call.call_id, units)
            self._slotless = self._slot is None
        if units >= self._checkpoint:
            self._checkpoint = units + CHECKPOINT_UNITS
            self._append_checkpoint(units)

    def settle(self, settlement: Settlement) -> UsageEvent:
        """Close the call and give its settle event, with the cost. A second settle changes nothing and gives
        the first. Raises JournalFull when the disk is full: the call is then settled at the next start."""
        if self.settled is not None:
            return self.settled
        event = self._settle_event(settlement)
        self._journal.append(event)
        self.settled = event
        self._release()
        return event

    def _release(self) -> None:
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    def _settle_event(self, settlement: Settlement) -> UsageEvent:
        event = self._event
        rates = self._rates
        if settlement.price is not None:
            # Should this settle fail, another one may come at the intent's price.
            event = UsageEvent()
            event.CopyFrom(self._event)
            event.price.CopyFrom(settlement.price)
            rates = Rates.of(settlement.price)
        read, written, cached, reasoning = counts = settlement.counts
        quantities = event.quantities
        quantities.input_tokens = read
        quantities.output_tokens = written
        quantities.cached_input_tokens = cached
        quantities.reasoning_tokens = reasoning
        event.kind = EVENT_KIND_SETTLE
        event.outcome = settlement.outcome
        event.model = settlement.model
        event.provider = settlement.provider
        event.estimated = settlement.estimated
        event.latency_ms = settlement.latency_ms
        event.first_token_ms = settlement.first_token_ms
        event.attempts = settlement.attempts
        event.error_reason = settlement.error_reason
        event.cost_nano_usd = rates.cost_nano_usd(counts)
        return event

    def _append_checkpoint(self, units: int) -> None:
        read = self._event.quantities.input_tokens
        quantities = Quantities(input_tokens=read, output_tokens=units)
        event = UsageEvent(kind=EVENT_KIND_CHECKPOINT, quantities=quantities)
        event.call.call_id = self._event.call.call_id
        try:
            self._journal.append(event)
        except JournalFull:
            # The slot still knows; a checkpoint only matters after a power cut.
            return
