"""Telemetry of one process put together: what a composition root makes first and closes last."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from headgate_settings import HostPort
from headgate_telemetry.counters import CallCounters
from headgate_telemetry.logs import LEVELS, Logger, configure_logs, get_logger
from headgate_telemetry.metrics import Metrics
from headgate_telemetry.observer import RecordingObserver
from headgate_telemetry.recorder import Recorder, Tracing
from headgate_telemetry.repeats import Repeats
from headgate_telemetry.runtime import GarbageWatch, LoopWatch
from headgate_telemetry.settings import TelemetrySettings
from headgate_telemetry.trace import sample_new_traces
from headgate_telemetry.writer import LineWriter

if TYPE_CHECKING:
    from headgate_telemetry.exporter import SpanExporter
    from headgate_telemetry.ops import OpsServer


class Telemetry:
    """Sets up the logs of the process at once; `start` begins to write records, export and listen.

    `metrics` is where other libraries register theirs; `observer` goes to the host, `recorder` to the gateway.
    `fd` is where log lines go, standard error by default. Make it inside the running loop: the exporter's
    channel belongs to that loop.
    """

    def __init__(
        self, settings: TelemetrySettings, service: str, version: str, *, fd: int | None = None
    ) -> None:
        self._settings = settings
        self._service = settings.service_name or service
        self.metrics = Metrics()
        dropped = self.metrics.tally(
            "headgate_telemetry_dropped_total", "Log lines, spans and records that were lost.", ("kind",)
        )
        self._writer = LineWriter(
            sys.stderr.fileno() if fd is None else fd, on_drop=lambda lines: dropped.add(("lines",), lines)
        )
        repeats = Repeats(time.monotonic, lambda lines: dropped.add(("repeated lines",), lines))
        configure_logs(self._writer, self._service, settings.log_level, repeats=repeats)
        sample_new_traces(settings.trace_ratio)
        self._log: Logger = get_logger()
        self._exporter: SpanExporter | None = None
        tracing = None
        if settings.collector:
            tracing = self._open_tracing(version, lambda spans: dropped.add(("spans",), spans))
        self.recorder = Recorder(
            self._service,
            self._writer,
            CallCounters(self.metrics),
            self._log,
            tracing=tracing,
            quiet=LEVELS[settings.log_level] > LEVELS["info"],
            on_drop=lambda records: dropped.add(("records",), records),
        )
        self.observer = RecordingObserver(self.recorder, self.metrics)
        self._loop_watch = LoopWatch(self.metrics)
        self._garbage_watch = GarbageWatch(self.metrics)
        self._tasks: list[asyncio.Task[None]] = []
        self._ops: OpsServer | None = None

    def _open_tracing(self, version: str, on_drop: Callable[[int], None]) -> Tracing:
        # Imported here because they load the OTLP messages, which nobody needs without a collector.
        from headgate_telemetry.exporter import SpanExporter, open_channel, parse_headers  # noqa: PLC0415
        from headgate_telemetry.resource import resource_attributes  # noqa: PLC0415
        from headgate_telemetry.spans import SpanEncoder  # noqa: PLC0415

        self._exporter = SpanExporter(
            open_channel(self._settings.collector),
            log=self._log,
            on_drop=on_drop,
            metadata=parse_headers(self._settings.otlp_headers.reveal()),
        )
        return Tracing(SpanEncoder(resource_attributes(self._service, version)), self._exporter)

    async def start(self, failing: Callable[[], Sequence[str]]) -> HostPort:
        """Begin, and listen for operators; `failing` names the parts that cannot serve yet. Returns the address
        of the ops listener. Raises OSError when it is taken."""
        # Imported here because the web server and the Prometheus client take 100 ms that no test of ours needs.
        from headgate_telemetry.ops import OpsServer  # noqa: PLC0415

        self._loop_watch.start(asyncio.get_running_loop())
        self._garbage_watch.start()
        self._tasks.append(asyncio.create_task(self.recorder.run(), name="recorder"))
        if self._exporter is not None:
            self._tasks.append(asyncio.create_task(self._exporter.run(), name="span-exporter"))
        self._ops = OpsServer(self._settings.ops, self.metrics, failing)
        return await self._ops.start()

    async def close(self) -> None:
        """Write and send what is left, at most about 3 s, and stop."""
        if self._ops is not None:
            await self._ops.close()
        self._loop_watch.stop()
        self._garbage_watch.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.recorder.flush()
        if self._exporter is not None:
            await self._exporter.close()
        await asyncio.to_thread(self._writer.close)
