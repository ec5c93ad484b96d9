"""A fault that meets every call is said a few times and then counted, not said a million times (F46)."""

import logging

import pytest

from headgate_telemetry.logs import configure_logs, get_logger
from headgate_telemetry.plain_structlog import structlog
from headgate_telemetry.repeats import BURST, WINDOW, Repeats
from headgate_telemetry.writer import LineWriter


class Kept(LineWriter):
    """A writer that keeps its lines."""

    def __init__(self):
        super().__init__(fd=-1)
        self.lines: list[bytes] = []

    def write(self, lines: bytes, count: int = 1) -> None:
        self.lines.append(lines)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def kept(clock, dropped):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = Kept()
    configure_logs(kept, "suite", "info", now_ns=lambda: 0, repeats=Repeats(clock, dropped.append))
    yield kept
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def unhandled(number):
    try:
        raise OSError("the disk is full")
    except OSError as fault:
        get_logger().error("unhandled fault", request_id=f"r{number}", took_ms=number, exc_info=fault)


def test_two_thousand_identical_errors_are_ten_lines(kept, dropped):
    for number in range(2_000):
        unhandled(number)
    assert len(kept.lines) == BURST
    assert sum(dropped) == 2_000 - BURST


def test_the_next_window_says_how_many_were_left_out(kept, clock):
    for number in range(100):
        unhandled(number)
    clock.now += WINDOW
    unhandled(100)
    unhandled(101)
    assert b'"left_out":90' in kept.lines[BURST]
    assert b"left_out" not in kept.lines[BURST + 1]


def test_other_errors_are_still_seen(kept):
    for number in range(100):
        unhandled(number)
        get_logger().exception("another place", provider="a")
    for provider in ("b", "c"):
        get_logger().warning("provider is away", provider=provider)
    get_logger().error("unhandled fault", exc_info=ValueError("of another class"))
    assert len(kept.lines) == 2 * BURST + 3


def test_what_is_no_error_is_not_limited(kept):
    for _ in range(100):
        get_logger().info("listening")
    assert len(kept.lines) == 100


def test_errors_of_libraries_are_limited_too(kept):
    for _ in range(1000):
        logging.getLogger("some.library").error("connection lost")
    assert len(kept.lines) == BURST


def test_texts_that_differ_each_time_make_no_flood_either(kept):
    for number in range(5_000):
        get_logger().error(f"no such thing: {number}")
    assert len(kept.lines) == 512 + BURST
