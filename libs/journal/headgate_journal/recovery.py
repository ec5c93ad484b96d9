"""What a journal's folder says at start: which calls were cut off by the end of the process before, and the
settles that close them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    OUTCOME_EXPIRED,
    Quantities,
    UsageEvent,
)
from headgate_journal.segments import Faults, Segment, repair
from headgate_money import FLAT, cost_nano_usd


@dataclass(slots=True)
class Survey:
    """Everything a scan of the segments found. `open_intents` maps call ids to intents without settle,
    `checkpoints` to the units of their last checkpoint."""

    open_intents: dict[str, UsageEvent] = field(default_factory=dict)
    checkpoints: dict[str, int] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)

    def see(self, event: UsageEvent) -> None:
        """Take one event into account, in journal order."""
        call_id = event.call.call_id
        if event.kind == EVENT_KIND_INTENT:
            # Kept in journal order: an intent that was written anew counts where it stands last.
            self.open_intents.pop(call_id, None)
            self.open_intents[call_id] = event
        elif event.kind == EVENT_KIND_CHECKPOINT:
            self.checkpoints[call_id] = event.quantities.output_tokens
        elif event.kind == EVENT_KIND_SETTLE:
            self.open_intents.pop(call_id, None)
            self.checkpoints.pop(call_id, None)


def survey(segments: list[Segment], acked: int) -> Survey:
    """Repair and read all segments, oldest first; `acked` is the last sequence number metering has."""
    found = Survey()
    expected = segments[0].first_seq if segments else 0
    for segment in segments:
        if segment.first_seq > expected and segment.first_seq > acked + 1:
            found.faults.gaps += 1
        for event in repair(segment, found.faults, newest=segment is segments[-1]):
            found.see(event)
        expected = segment.last_seq + 1
    return found


def expired_settles(found: Survey, units: Mapping[str, int]) -> list[UsageEvent]:
    """One settle for each call that was cut off, from its progress slot (`units` by call id), or from its last
    checkpoint where that knows more (after a power cut the slots may be old)."""
    return [
        _expired(intent, max(units.get(call_id, 0), found.checkpoints.get(call_id, 0)))
        for call_id, intent in found.open_intents.items()
    ]


def _expired(intent: UsageEvent, units: int) -> UsageEvent:
    quantities = Quantities(input_tokens=intent.quantities.input_tokens, output_tokens=units)
    settle = UsageEvent()
    settle.CopyFrom(intent)
    settle.kind = EVENT_KIND_SETTLE
    settle.outcome = OUTCOME_EXPIRED
    settle.estimated = True
    settle.quantities.CopyFrom(quantities)
    settle.cost_nano_usd = cost_nano_usd(intent.price if intent.HasField("price") else FLAT, quantities)
    return settle
