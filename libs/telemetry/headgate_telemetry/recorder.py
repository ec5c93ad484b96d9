"""Takes finished records with one append on the request path, and turns them into log lines, spans and
counters in batches: the same facts cost several times the request when they are written while it runs."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from headgate_telemetry.counters import CallCounters
from headgate_telemetry.record import CallRecord, EdgeRecord
from headgate_telemetry.redact import clean
from headgate_telemetry.request_log import attempt_line, call_line, edge_line

INTERVAL = 0.05
"""Seconds between two batches."""

_SLICE = 64

# Each hand-over wakes a thread, which then waits for the interpreter: one a batch. Lines leave earlier when there are
# so many, a megabyte or less of usual ones: the writer takes four at a time.
_HAND_OVER_LINES = 1024

EXPORT_TICKS = 20
"""Batches between two exports: spans leave once a second, since a gRPC call costs a millisecond of CPU whatever
it carries."""

EXPORT_BYTES = 1 << 20
"""Spans leave earlier once they are so many bytes (2,000 spans): collectors refuse more than 4 MiB."""

WAITING_LIMIT = 65_536
"""Records that may wait for a batch; beyond it the oldest are lost and counted."""

# A watch ends when its follower leaves.
_UNREMARKABLE = frozenset({"", "CANCELLED"})


class Lines(Protocol):
    """Where log lines go."""

    def write(self, lines: bytes, count: int) -> None: ...


class Encoder(Protocol):
    """What makes spans of records (`spans.SpanEncoder`)."""

    size: int

    def add_call(self, call: CallRecord) -> None: ...

    def add_edge(self, edge: EdgeRecord) -> None: ...

    def take(self) -> tuple[bytes, int]: ...


class Exporter(Protocol):
    """What carries encoded spans away (`exporter.SpanExporter`)."""

    def offer(self, batch: bytes, spans: int) -> None: ...


class Log(Protocol):
    """The part of a logger that is used here."""

    def exception(self, event: str, **fields: object) -> object: ...


@dataclass(frozen=True, slots=True)
class Tracing:
    """The two parts of span export; absent when no collector is set."""

    encoder: Encoder
    exporter: Exporter


class Recorder:
    """Remembers calls until the next batch. `quiet` leaves the log lines of successful requests out; `on_drop` is
    told how many records were lost."""

    def __init__(
        self,
        service: str,
        lines: Lines,
        counters: CallCounters,
        log: Log,
        *,
        tracing: Tracing | None = None,
        quiet: bool = False,
        on_drop: Callable[[int], None] = lambda records: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._service = service
        self._lines = lines
        self._counters = counters
        self._log = log
        self._tracing = tracing
        self._quiet = quiet
        self._on_drop = on_drop
        self._sleep = sleep
        self._waiting: deque[CallRecord | EdgeRecord] = deque()
        self._written: list[bytes] = []
        self._ticks = 0

    def add(self, record: CallRecord | EdgeRecord) -> None:
        """Take a finished record; nobody may change it afterwards."""
        waiting = self._waiting
        if len(waiting) >= WAITING_LIMIT:
            waiting.popleft()
            self._on_drop(1)
        waiting.append(record)

    async def run(self) -> None:
        """Write a batch every 50 ms, until cancelled."""
        while True:
            await self._sleep(INTERVAL)
            waiting = len(self._waiting)
            # In slices, so that a busy moment's batch does not hold the loop; larger ones when they pile up.
            size = max(_SLICE, waiting // 8)
            for _ in range(0, waiting, size):
                self._write(size)
                await asyncio.sleep(0)
            self._hand_over()
            self._ticks += 1
            if self._ticks % EXPORT_TICKS == 0:
                self._export()

    def flush(self) -> None:
        """Write everything now and hand all spans to the exporter."""
        self._write(len(self._waiting))
        self._hand_over()
        self._export()

    def _write(self, most: int) -> None:
        tracing = self._tracing
        for _ in range(min(most, len(self._waiting))):
            record = self._waiting.popleft()
            try:
                # A label of the caller's choice; somebody will put a key into it.
                record.request_id = clean(record.request_id)
                if isinstance(record, CallRecord):
                    self._write_call(record)
                else:
                    self._write_edge(record)
            except Exception:  # noqa: BLE001 - one odd record must not end telemetry for all others
                self._log.exception("a record could not be written", request_id=record.request_id)
            if tracing is not None and tracing.encoder.size >= EXPORT_BYTES:
                self._export()
            if len(self._written) >= _HAND_OVER_LINES:
                self._hand_over()

    def _write_call(self, call: CallRecord) -> None:
        if call.requested_model != call.model:
            call.requested_model = clean(call.requested_model)
        if call.message:
            call.message = clean(call.message)
        self._counters.count_call(call)
        if call.internal and call.reason in _UNREMARKABLE:
            return
        if not self._quiet or call.reason:
            self._written.append(call_line(call, self._service))
            for attempt in call.attempts:
                self._written.append(attempt_line(call, attempt, self._service))
        if self._tracing is not None and call.trace.sampled:
            self._tracing.encoder.add_call(call)

    def _write_edge(self, edge: EdgeRecord) -> None:
        self._counters.count_edge(edge)
        if not edge.reached_service and not (self._quiet and edge.http_status < 400):
            self._written.append(edge_line(edge, self._service))
        if self._tracing is not None and edge.trace.sampled:
            self._tracing.encoder.add_edge(edge)

    def _hand_over(self) -> None:
        lines, self._written = self._written, []
        if lines:
            self._lines.write(b"".join(lines), len(lines))

    def _export(self) -> None:
        if self._tracing is not None and self._tracing.encoder.size:
            self._tracing.exporter.offer(*self._tracing.encoder.take())
