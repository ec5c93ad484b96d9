"""CPU of full telemetry for one REST call: two records, three spans, two log lines, all counters.

Run: python tests/benchmarks/telemetry.py [calls]
"""

import os
import statistics
import sys
import time

from headgate_telemetry.counters import CallCounters
from headgate_telemetry.logs import get_logger
from headgate_telemetry.metrics import Metrics
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord
from headgate_telemetry.recorder import Recorder, Tracing
from headgate_telemetry.resource import resource_attributes
from headgate_telemetry.spans import SpanEncoder
from headgate_telemetry.trace import child_of, continue_trace, format_traceparent
from headgate_telemetry.writer import LineWriter

BATCH = 200
"""Calls of one batch; a batch is what the recorder writes in a busy 50 ms."""


class Nowhere:
    """An exporter that counts bytes."""

    size = 0

    def offer(self, batch: bytes, spans: int) -> None:
        self.size += len(batch)


def records(number: int) -> tuple[EdgeRecord, CallRecord]:
    """What one chat leaves behind: 50 accounts, 5 models."""
    now = time.time_ns()
    edge = EdgeRecord(
        "POST", "/v1/chat/completions", f"req-{number}", continue_trace(None), now, now + 900_000, 200, "10.0.0.1",
        "", True,
    )  # fmt: skip
    model = f"model-{number % 5}"
    call = CallRecord(
        service="headgate.inference.v1.InferenceService", method="Generate", endpoint="POST /v1/chat/completions",
        request_id=edge.request_id, trace=child_of(edge.trace), started_ns=now, ended_ns=now + 800_000,
        call_id=f"019a0000-0000-7000-8000-{number:012x}", account_id=f"acct_{number % 50}", key_prefix="sk-hg-abcdef",
        client_address="10.0.0.1", operation="chat", requested_model=model, model=model, provider="openai",
        input_tokens=120, output_tokens=34, cost_nano_usd=36_000, outcome="COMPLETED", finish_reasons=("stop",),
        first_token_ns=now + 300_000, request_limit="600", requests_left="599",
    )  # fmt: skip
    attempt = AttemptRecord(
        1, "openai", model, model, child_of(call.trace), now, now + 700_000, "api.example.com", 200
    )
    call.attempts.append(attempt)
    return edge, call


def measure(name: str, calls: int, tracing: Tracing | None) -> None:
    """Print CPU µs per call of the append and of the batch, the medians of all batches."""
    fd = os.open(os.devnull, os.O_WRONLY)
    writer = LineWriter(fd)
    recorder = Recorder("headgate", writer, CallCounters(Metrics()), get_logger(), tracing=tracing)
    adding, writing = [], []
    for first in range(0, calls, BATCH):
        batch = [records(number) for number in range(first, first + BATCH)]
        began = time.process_time()
        for edge, call in batch:
            recorder.add(call)
            recorder.add(edge)
        added = time.process_time()
        recorder.flush()
        writing.append((time.process_time() - added) / BATCH * 1e6)
        adding.append((added - began) / BATCH * 1e6)
    writer.close()
    append, batched = statistics.median(adding), statistics.median(writing)
    print(f"{name:30} append {append:6.2f} µs   batch {batched:6.2f} µs per call")


def measure_ids(calls: int) -> None:
    """Print CPU µs of the trace work that is done while the request runs."""
    began = time.process_time()
    for _ in range(calls):
        edge = continue_trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        child_of(continue_trace(format_traceparent(edge)))
    print(f"{'trace ids of three spans':30} {(time.process_time() - began) / calls * 1e6:6.2f} µs per call")


def main() -> None:
    """Both ways, and the ids."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    measure_ids(calls)
    measure("lines and counters", calls, None)
    exporter = Nowhere()
    measure(
        "lines, counters and spans",
        calls,
        Tracing(SpanEncoder(resource_attributes("headgate", "0")), exporter),
    )
    print(f"{exporter.size / calls:.0f} bytes of OTLP per call")


if __name__ == "__main__":
    main()
