"""Records become lines, counters and spans in batches; hostile values forge nothing."""

import asyncio
import json
import random

import pytest
from msgspec import structs

from headgate.inference.v1 import inference_pb2
from headgate_admission.principal import Principal
from headgate_rpc.call import CallContext, Peer, methods_of
from headgate_rpc.errors import HeadgateError, Reason
from headgate_telemetry.counters import CallCounters
from headgate_telemetry.metrics import Gauge, Metrics, Tally
from headgate_telemetry.observer import RecordingObserver
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord, TraceContext
from headgate_telemetry.recorder import WAITING_LIMIT, Recorder, Tracing

START = 1_795_252_320_000_000_000
TRACE = TraceContext("a" * 32, "b" * 16, "c" * 16)
HOSTILE = ["\r", "\n", "\r\n", "\x1b[2K", "\u2028", "\u2029", "\x85", "\x0c", "\x9b", "\x7f", "\x00", '"', "\\", "'",
           "}", "{", '"}\n{"event":"request","forged":true}', "\ud800", "😀", "\u202e", "\ufeff"]  # fmt: skip


class Kept:
    """Lines and logged exceptions, kept."""

    def __init__(self):
        self.raw = b""
        self.writes = 0
        self.counted = 0
        self.exceptions: list[dict[str, object]] = []

    def write(self, lines: bytes, count: int) -> None:
        self.raw += lines
        self.writes += 1
        self.counted += count

    def exception(self, event: str, **fields: object) -> None:
        self.exceptions.append(fields)

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.raw.decode().splitlines()]


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def recorder(kept):
    return Recorder("suite", kept, CallCounters(Metrics()), kept)


def make_call(**fields):
    record = CallRecord(
        service="headgate.inference.v1.InferenceService",
        method="Generate",
        endpoint="POST /v1/chat/completions",
        request_id="req-1",
        trace=TRACE,
        started_ns=START,
        ended_ns=START + 12_345_678,
        call_id="018f",
        account_id="acct",
        key_prefix="sk-hg-abc",
        client_address="10.0.0.1",
        operation="chat",
        requested_model="fast",
        model="gpt-4o-mini",
        provider="openai",
        input_tokens=12,
        output_tokens=3,
        cost_nano_usd=3600,
        outcome="COMPLETED",
    )
    return structs.replace(record, **fields)


def running_call(record):
    generate = methods_of(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"])["Generate"]
    return CallContext(generate, {}, Peer("10.0.0.1", inside=False), None, record)


def make_edge(**fields):
    return structs.replace(
        EdgeRecord("GET", "/v1/models", "req-2", TRACE, START, START + 1_000_000, 200, "10.0.0.1"), **fields
    )


def test_a_request_is_one_line_with_what_operators_ask_for(recorder, kept):
    recorder.add(make_call())
    recorder.flush()
    (line,) = kept.lines
    assert line == {
        "time": "2026-11-21T09:12:00.012Z", "level": "info", "event": "request", "service": "suite",
        "request_id": "req-1", "call_id": "018f", "trace_id": "a" * 32, "account": "acct", "key_prefix": "sk-hg-abc",
        "client": "10.0.0.1", "method": "POST", "path": "/v1/chat/completions", "rpc": "Generate", "status": 200,
        "latency_ms": 12.346, "operation": "chat", "requested_model": "fast", "model": "gpt-4o-mini",
        "provider": "openai", "streamed": False, "input_tokens": 12, "output_tokens": 3, "estimated": False,
        "cost_nano_usd": 3600, "outcome": "COMPLETED", "attempts": 0,
    }  # fmt: skip


def test_a_direct_call_has_its_grpc_path(recorder, kept):
    recorder.add(make_call(endpoint="/headgate.inference.v1.InferenceService/Generate"))
    recorder.flush()
    assert kept.lines[0]["method"] == "POST"
    assert kept.lines[0]["path"] == "/headgate.inference.v1.InferenceService/Generate"


@pytest.mark.parametrize(
    ("reason", "status", "level"),
    [
        ("RATE_LIMIT_EXCEEDED", 429, "info"),
        ("INTERNAL_ERROR", 500, "error"),
        ("CANCELLED", 499, "info"),
        ("?", 500, "error"),
    ],
)
def test_a_failure_has_its_reason_status_and_level(recorder, kept, reason, status, level):
    recorder.add(make_call(reason=reason, message="Why."))
    recorder.flush()
    (line,) = kept.lines
    assert (line["error"], line["message"], line["status"], line["level"]) == (reason, "Why.", status, level)


def test_each_attempt_is_a_line(recorder, kept):
    first = AttemptRecord(
        1,
        "openai",
        "m",
        "up",
        TRACE,
        START,
        START + 5_000_000,
        "api.example.com",
        503,
        "FAILED",
        "UPSTREAM_ERROR",
    )
    unfinished = AttemptRecord(2, "spare", "m", "up2", TRACE, START + 6_000_000)
    recorder.add(make_call(attempts=[first, unfinished]))
    recorder.flush()
    request, one, two = kept.lines
    assert request["attempts"] == 2
    assert (one["attempt"], one["provider"], one["status"], one["latency_ms"]) == (1, "openai", 503, 5.0)
    assert (one["error"], one["level"], one["call_id"]) == ("UPSTREAM_ERROR", "warning", "018f")
    assert two["latency_ms"] == 6.346  # ended with its call


def test_the_edge_writes_the_line_only_where_no_service_does(recorder, kept):
    recorder.add(make_edge(reached_service=True))
    recorder.add(make_edge(route="", http_status=404, reason="NOT_FOUND"))
    recorder.flush()
    (line,) = kept.lines
    assert (line["status"], line["error"], line["trace_id"]) == (404, "NOT_FOUND", "a" * 32)


def test_keys_put_into_labels_are_masked(recorder, kept):
    key = "sk-hg-abc_Zm9vYmFyYmF6cXV4"
    recorder.add(
        make_call(request_id=key, requested_model=f"Bearer {key}", reason="NOT_FOUND", message=f"No {key}.")
    )
    recorder.add(make_edge(request_id=key))
    recorder.flush()
    assert len(kept.lines) == 2
    assert b"Zm9v" not in kept.raw


def test_r38_hostile_values_in_every_field_make_one_line_per_event(recorder, kept):
    draw = random.Random(38)

    def text():
        return "".join(draw.choices(HOSTILE, k=draw.randrange(1, 9))) * draw.choice((1, 1, 1, 50))

    def fill(record):
        for each in structs.fields(record):
            if each.type is str:
                setattr(record, each.name, text())
        return record

    events = 0
    for number in range(10_000):
        if number % 3:
            attempts = [fill(AttemptRecord(1, "", "", "", TRACE, START))] * (number % 2)
            recorder.add(fill(make_call(attempts=attempts, finish_reasons=(text(),))))
            events += 1 + len(attempts)
        else:
            recorder.add(fill(make_edge()))
            events += 1
    recorder.flush()
    assert kept.exceptions == []
    lines = kept.lines
    assert len(lines) == events == kept.counted
    assert len(kept.raw.split(b"\n")) == events + 1
    assert {line["event"] for line in lines} == {"request", "attempt"}
    assert not any("forged" in line for line in lines)
    assert max(len(value) for line in lines for value in line.values() if isinstance(value, str)) <= 256
    assert not any(byte in kept.raw for byte in (b"\x1b", b"\x7f", b"\r", "\x9b".encode(), "\u2028".encode()))


def test_an_odd_record_costs_only_itself(recorder, kept):
    recorder.add(make_call(call_id=None, request_id="odd"))
    recorder.add(make_call())
    recorder.flush()
    assert len(kept.lines) == 1
    assert kept.exceptions == [{"request_id": "odd"}]


def test_quiet_logs_only_what_went_wrong(kept):
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept, quiet=True)
    recorder.add(make_call())
    recorder.add(make_edge())
    recorder.add(make_call(reason="INTERNAL_ERROR"))
    recorder.flush()
    assert [line["status"] for line in kept.lines] == [500]


class Ticks:
    """A sleep that a test releases."""

    def __init__(self):
        self.asleep = asyncio.Event()
        self._due = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        assert seconds == 0.05
        self.asleep.set()
        await self._due.wait()
        self._due.clear()

    def end(self) -> None:
        self.asleep.clear()
        self._due.set()

    async def tick(self) -> None:
        await self.asleep.wait()
        self.end()
        await self.asleep.wait()


async def test_the_task_writes_in_slices_so_that_others_run_between(kept):
    ticks, metrics = Ticks(), Metrics()
    recorder = Recorder("suite", kept, CallCounters(metrics), kept, sleep=ticks.sleep)
    requests = next(each for each in metrics if isinstance(each, Tally))
    seen = set()

    async def other() -> None:
        while True:
            seen.add(sum(requests.series().values()))
            await asyncio.sleep(0)

    tasks = asyncio.create_task(recorder.run()), asyncio.create_task(other())
    for _ in range(200):
        recorder.add(make_call())
    await ticks.tick()
    assert seen >= {64, 128, 192}
    assert (kept.counted, kept.writes) == (200, 1)
    for task in tasks:
        task.cancel()


def test_many_lines_are_handed_over_in_parts_that_the_writer_takes(kept):
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept)
    for _ in range(3000):
        recorder.add(make_call())
    recorder.flush()
    assert (kept.counted, kept.writes) == (3000, 3)


async def test_lines_of_a_batch_that_was_cut_short_are_not_lost(kept):
    ticks = Ticks()
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept, sleep=ticks.sleep)
    for _ in range(200):
        recorder.add(make_call())
    task = asyncio.create_task(recorder.run())
    await ticks.asleep.wait()
    ticks.end()
    await asyncio.sleep(0)  # it wakes
    await asyncio.sleep(0)  # and writes a slice
    task.cancel()
    await asyncio.wait([task])
    assert kept.counted == 0
    recorder.flush()
    assert kept.counted == 200


class Encoded:
    """An encoder and an exporter in one: a record is `each` bytes."""

    def __init__(self, each=1):
        self.each = each
        self.size = 0
        self.offered: list[int] = []

    def add_call(self, call: CallRecord) -> None:
        self.size += self.each

    def add_edge(self, edge: EdgeRecord) -> None:
        self.size += self.each

    def take(self) -> tuple[bytes, int]:
        size, self.size = self.size, 0
        return b"x" * size, size // self.each

    def offer(self, batch: bytes, spans: int) -> None:
        self.offered.append(len(batch))


async def test_spans_leave_once_a_second(kept):
    ticks, encoded = Ticks(), Encoded()
    tracing = Tracing(encoded, encoded)
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept, tracing=tracing, sleep=ticks.sleep)
    task = asyncio.create_task(recorder.run())
    for _ in range(60):
        recorder.add(make_call())
        await ticks.tick()
    task.cancel()
    assert encoded.offered == [20, 20, 20]


def test_spans_leave_earlier_once_they_are_a_megabyte(kept):
    encoded = Encoded(each=300_000)
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept, tracing=Tracing(encoded, encoded))
    for _ in range(10):
        recorder.add(make_call())
    recorder.flush()
    # No collector takes more than 4 MiB, so a batch is never larger than the limit and one record.
    assert encoded.offered == [1_200_000, 1_200_000, 600_000]


def test_records_that_nobody_writes_are_bounded_and_the_oldest_are_counted(kept):
    lost: list[int] = []
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept, quiet=True, on_drop=lost.append)
    for _ in range(10):
        recorder.add(make_edge(http_status=500))
    newer = make_edge()
    for _ in range(WAITING_LIMIT - 1):
        recorder.add(newer)
    recorder.flush()
    assert sum(lost) == 9
    assert kept.counted == 1  # of the ten failures


async def test_the_observer_closes_the_record(kept):
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept)
    metrics = Metrics()
    observer = RecordingObserver(recorder, metrics, now_ns=lambda: START + 2_000_000)

    running = next(iter(metrics))
    assert isinstance(running, Gauge)
    call = running_call(make_call(ended_ns=0, account_id="", call_id=""))
    call.call_id, call.request_id = "c9", "r9"
    call.initial_metadata |= {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    call.principal = Principal("key1", "acct9", "sk-hg-9", frozenset(), frozenset(), "standard")
    observer.started(call)
    assert running.value() == 1
    observer.finished(call, HeadgateError(Reason.MODEL_NOT_FOUND, "No such model."))
    assert running.value() == 0
    assert (call.record.request_limit, call.record.requests_left) == ("60", "59")
    recorder.flush()
    (line,) = kept.lines
    assert (line["call_id"], line["account"], line["key_prefix"], line["request_id"]) == (
        "c9",
        "acct9",
        "sk-hg-9",
        "r9",
    )
    assert (line["error"], line["status"], line["latency_ms"]) == ("MODEL_NOT_FOUND", 404, 2.0)


async def test_a_clock_that_steps_back_makes_no_negative_latency(kept):
    recorder = Recorder("suite", kept, CallCounters(Metrics()), kept)
    observer = RecordingObserver(recorder, Metrics(), now_ns=lambda: START - 10**9)
    record = make_call()
    call = running_call(record)
    observer.started(call)
    observer.finished(call, None)
    assert record.ended_ns == record.started_ns


@pytest.mark.parametrize(("reason", "lines"), [("", 0), ("CANCELLED", 0), ("INTERNAL_ERROR", 1)])
def test_calls_within_the_suite_are_logged_only_when_they_fail(recorder, kept, reason, lines):
    recorder.add(make_call(internal=True, reason=reason))
    recorder.flush()
    assert len(kept.lines) == lines
