"""Every log of the process is a JSON line through the one redacting exit."""

import json
import logging
import warnings

import pytest

from headgate_telemetry.logs import Router, configure_logs, get_logger
from headgate_telemetry.plain_structlog import structlog
from headgate_telemetry.writer import LineWriter

NOW = 1_795_252_320_000_000_000


class Kept(LineWriter):
    """A writer that keeps its lines."""

    def __init__(self):
        super().__init__(fd=-1)
        self.lines: list[dict[str, object]] = []

    def write(self, lines: bytes, count: int = 1) -> None:
        self.lines.extend(json.loads(line) for line in lines.splitlines())


@pytest.fixture
def kept():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = Kept()
    configure_logs(kept, "suite", "info", now_ns=lambda: NOW)
    yield kept
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_time_level_event_service_and_fields(kept):
    get_logger(port=8080).info("ready", models=3)
    assert kept.lines == [
        {"time": "2026-11-21T09:12:00.000Z", "level": "info", "event": "ready", "service": "suite", "port": 8080,
         "models": 3}
    ]  # fmt: skip


def test_levels_below_the_setting_are_not_logged(kept):
    get_logger().debug("detail")
    assert kept.lines == []


def test_secrets_in_fields_and_texts_are_masked(kept):
    get_logger().warning(
        "refused sk-abcdefgh12345678", api_key="hunter2", headers={"authorization": "Bearer x"}
    )
    line = json.dumps(kept.lines[0])
    assert "12345678" not in line
    assert "hunter2" not in line
    assert "Bearer x" not in line


def test_a_field_cannot_take_the_place_of_the_head(kept):
    get_logger().info("true", time="never", level="none", service="forged")
    assert kept.lines[0]["service"] == "suite"
    assert kept.lines[0]["level"] == "info"


def test_an_exception_is_one_line_with_its_traceback_masked(kept):
    try:
        raise ValueError("key sk-abcdefgh12345678\nwas bad")
    except ValueError as fault:
        get_logger().error("unhandled fault", exc_info=fault)
        get_logger().exception("again")
    assert [line["level"] for line in kept.lines] == ["error", "error"]
    assert all("ValueError: key sk-***" in str(line["exception"]) for line in kept.lines)


def test_logging_of_libraries_is_routed_from_warning_on(kept):
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("odd %s", "thing")
    # Straight to the handler: pytest's own handler fails on such a record.
    Router().emit(logging.LogRecord("some.library", logging.ERROR, "", 1, "broken %d", ("format",), None))
    assert [(line["level"], line["event"], line["logger"]) for line in kept.lines] == [
        ("warning", "odd thing", "some.library"),
        ("error", "broken %d", "some.library"),
    ]


def test_warnings_become_lines(kept):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert "old thing" in str(kept.lines[0]["event"])
