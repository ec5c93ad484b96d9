"""The host's observer: closes the record of a call and hands it to the recorder."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headgate_telemetry.metrics import Metrics
from headgate_telemetry.recorder import Recorder

if TYPE_CHECKING:
    from headgate_rpc.call import CallContext
    from headgate_rpc.errors import HeadgateError


class RecordingObserver:
    """Implements `headgate_rpc.host.Observer`. `now_ns` is Unix time in nanoseconds."""

    def __init__(
        self, recorder: Recorder, metrics: Metrics, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._recorder = recorder
        self._now_ns = now_ns
        self._running = 0
        metrics.gauge("headgate_requests_running", "RPCs that are running now.", lambda: self._running)

    def started(self, call: "CallContext") -> None:
        """The call has arrived."""
        self._running += 1

    def finished(self, call: "CallContext", error: "HeadgateError | None") -> None:
        """The call has ended: who, when and how go into its record."""
        self._running -= 1
        record = call.record
        # A wall clock that stepped back must not make a call end before it began.
        record.ended_ns = max(self._now_ns(), record.started_ns)
        record.call_id = call.call_id or record.call_id
        record.request_id = call.request_id or record.request_id
        principal = call.principal
        if principal is not None:
            record.account_id = principal.account_id
            record.principal_id = principal.id
            record.key_prefix = principal.key_prefix
        metadata = call.initial_metadata
        record.request_limit = metadata.get("x-ratelimit-limit-requests", "")
        record.requests_left = metadata.get("x-ratelimit-remaining-requests", "")
        if error is not None:
            record.reason = error.reason.value
            record.message = error.message
        self._recorder.add(record)
