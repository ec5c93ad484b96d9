"""What a servicer knows of one call, whatever carried it."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from headgate.options.v1 import options_pb2
from headgate_telemetry.record import CallRecord, TraceContext

if TYPE_CHECKING:
    from headgate_admission.principal import Principal


# The `required_scope` of RPCs that only the suite itself may call.
INTERNAL_SCOPE = "internal"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC as its contract declares it; `full_name` is `/package.Service/Name`."""

    name: str
    service: str
    full_name: str
    request_class: type[Message]
    response_class: type[Message]
    server_streaming: bool
    required_scope: str
    rate_class: str


def methods_of(service: ServiceDescriptor) -> dict[str, Method]:
    """The RPCs of a service by name. Raises ValueError for one without `required_scope`: nobody decided who
    may call it."""
    methods = {}
    for rpc in service.methods:
        options = rpc.GetOptions().Extensions
        scope = options[options_pb2.required_scope]
        if not scope:
            raise ValueError(f"{rpc.full_name} declares no required_scope")
        methods[rpc.name] = Method(
            name=rpc.name,
            service=service.full_name,
            full_name=f"/{service.full_name}/{rpc.name}",
            request_class=GetMessageClass(rpc.input_type),
            response_class=GetMessageClass(rpc.output_type),
            server_streaming=rpc.server_streaming,
            required_scope=scope,
            rate_class=options[options_pb2.rate_class] or "default",
        )
    return methods


REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


def request_id_or_new(text: str | None, call_id: str) -> str:
    """The client's own request id when it has the allowed form (GEN-7), else one made from the call id."""
    return text if text and REQUEST_ID(text) else "req_" + call_id.replace("-", "")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of the transport. `inside` is true for a part of the suite: the same process, or
    a peer that proved it (decisions.md 12)."""

    address: str
    inside: bool


class CallContext:
    """One running call. `deadline` is on `time.monotonic()`, in seconds. Metadata keys are lower case; what is
    put in `initial_metadata` goes out with the first message, or with the error."""

    __slots__ = (
        "_callbacks",
        "call_id",
        "deadline",
        "initial_metadata",
        "metadata",
        "metadata_sender",
        "method",
        "peer",
        "principal",
        "record",
        "request_id",
        "trace",
        "trailing_metadata",
    )  # fmt: skip

    def __init__(
        self,
        method: Method,
        metadata: Mapping[str, str],
        peer: Peer,
        deadline: float | None,
        record: CallRecord,
    ) -> None:
        self.method = method
        self.metadata = metadata
        self.peer = peer
        self.deadline = deadline
        self.record = record
        self.call_id = record.call_id
        self.request_id = record.request_id
        self.trace: TraceContext = record.trace
        self.principal: Principal | None = None
        self.initial_metadata: dict[str, str] = {}
        self.trailing_metadata: dict[str, str] = {}
        self.metadata_sender: Callable[[], None] | None = None
        self._callbacks: list[Callable[[], None]] = []

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def send_initial_metadata(self) -> None:
        """Let the initial metadata go before the first message; later changes to it are not seen. Streams only."""
        if self.metadata_sender is not None:
            self.metadata_sender()
            self.metadata_sender = None

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Run `callback` once when the call has ended, however it ended."""
        self._callbacks.append(callback)

    def run_done_callbacks(self) -> None:
        """For the host: the call has ended."""
        if self._callbacks:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()
