"""Everything that is not a request line: structlog to JSON, libraries' own logging routed into it, one
redacting exit. Fields are limited in length and number; texts that look like credentials are masked; what is
said over and over is left out and counted."""

import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping

from headgate_telemetry.lines import iso_time, render
from headgate_telemetry.plain_structlog import structlog
from headgate_telemetry.redact import clean_fields
from headgate_telemetry.repeats import Repeats, kind_of
from headgate_telemetry.writer import LineWriter

Logger = structlog.typing.FilteringBoundLogger

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_LIMITED = frozenset({"warning", "error", "exception", "critical"})


def get_logger(**fields: object) -> Logger:
    """A logger whose lines carry `fields`. Usable at module level, before the logs are set up."""
    logger: Logger = structlog.get_logger(**fields)
    return logger


def configure_logs(
    writer: LineWriter,
    service: str,
    level: str,
    now_ns: Callable[[], int] = time.time_ns,
    repeats: Repeats | None = None,
) -> None:
    """Send all logs of the process to `writer`: structlog from `level` on, libraries from WARNING on. `repeats`
    decides which identical warnings and errors are left out; without it, none are."""
    structlog.configure(
        processors=[
            *([LeaveOut(repeats)] if repeats is not None else []),
            structlog.processors.format_exc_info,
            JsonLine(service, now_ns),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *args: LineLogger(writer),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [Router()]
    root.setLevel(max(logging.WARNING, LEVELS[level]))


class LeaveOut:
    """The first processor: ends what has been said often enough, before its traceback is rendered."""

    def __init__(self, repeats: Repeats) -> None:
        self._repeats = repeats

    def __call__(
        self, logger: object, method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        if method not in _LIMITED:
            return event
        if event.get("exc_info") is True:
            event["exc_info"] = sys.exc_info()
        left_out = self._repeats.left_out(kind_of(method, event))
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["left_out"] = left_out
        return event


class JsonLine:
    """The last processor: cleans the fields and renders the line."""

    def __init__(self, service: str, now_ns: Callable[[], int]) -> None:
        self._service = service
        self._now_ns = now_ns

    def __call__(self, logger: object, method: str, event: MutableMapping[str, object]) -> bytes:
        head: dict[str, object] = {
            "time": iso_time(self._now_ns()),
            "level": "error" if method == "exception" else method,
            "event": event.pop("event", ""),
            "service": self._service,
        }
        return render(clean_fields(head | {name: event[name] for name in event if name not in head}))


class LineLogger:
    """What structlog calls at the end of its chain, by the name of the level."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def msg(self, line: bytes) -> None:
        """Write one rendered line."""
        self._writer.write(line)

    debug = info = warning = error = critical = exception = fatal = log = msg


class Router(logging.Handler):
    """Turns a record of stdlib logging into a line of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message of a library, formatted, with the library's name."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        level = min(record.levelno // 10 * 10, logging.CRITICAL) or logging.DEBUG
        get_logger().log(level, message, logger=record.name, exc_info=record.exc_info)
