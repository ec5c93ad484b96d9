"""Where a call began: what the edge of the suite knows of a request. Within a process it is handed on as it is, over
a wire as metadata."""

from collections.abc import Mapping

from msgspec import Struct

from headgate_clock import Clock, uuid7
from headgate_rpc.call import Peer, request_id_or_new
from headgate_telemetry.record import TraceContext
from headgate_telemetry.trace import format_traceparent, parse_traceparent


class Origin(Struct, frozen=True):
    """`trace` is the sender's own span, None where a trace begins; `endpoint` is what the caller asked for, such as
    `POST /v1/chat/completions`."""

    request_id: str
    call_id: str
    trace: TraceContext | None
    client_address: str
    endpoint: str

    def metadata(self) -> dict[str, str]:
        """As it goes over a wire."""
        metadata = {
            "x-request-id": self.request_id,
            "x-headgate-call-id": self.call_id,
            "x-headgate-client-ip": self.client_address,
            "x-headgate-endpoint": self.endpoint,
        }
        if self.trace is not None:
            metadata["traceparent"] = format_traceparent(self.trace)
        return metadata


def origin_of(metadata: Mapping[str, str], peer: Peer, method: str, clock: Clock) -> Origin:
    """What the metadata of a call says of its beginning. Of an outsider's, internal names are not looked at: such a
    call begins here, with the peer, by asking for `method`."""
    inside = metadata if peer.inside else {}
    call_id = inside.get("x-headgate-call-id") or uuid7(clock)
    traceparent = metadata.get("traceparent")
    return Origin(
        request_id=request_id_or_new(metadata.get("x-request-id"), call_id),
        call_id=call_id,
        trace=parse_traceparent(traceparent) if traceparent else None,
        client_address=inside.get("x-headgate-client-ip") or peer.address,
        endpoint=inside.get("x-headgate-endpoint") or method,
    )
