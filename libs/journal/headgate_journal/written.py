"""An event as it stands in the journal: its bytes, and what is asked of it on the way to metering."""

from msgspec import Struct

from headgate.metering.v1.metering_pb2 import UsageEvent


class Written(Struct, frozen=True, gc=False):
    """`time_ms` is Unix time, `payload` the serialised event."""

    seq: int
    kind: int
    call_id: str
    time_ms: int
    payload: bytes

    @property
    def event(self) -> UsageEvent:
        """A fresh copy of the event."""
        return UsageEvent.FromString(self.payload)


def written(event: UsageEvent) -> Written:
    """An event that was read from the files."""
    return Written(event.seq, event.kind, event.call.call_id, event.time_ms, event.SerializeToString())
