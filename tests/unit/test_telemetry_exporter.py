"""Spans reach a collector as one tree; a collector that is away, hangs or refuses costs spans, never time."""

import asyncio
import dataclasses

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headgate_telemetry.exporter import SpanExporter, open_channel, parse_headers
from headgate_testing.otlp import collector


class Kept:
    """What the exporter said and lost."""

    def __init__(self):
        self.events: list[str] = []
        self.dropped = 0

    def warning(self, event: str, **fields: object) -> None:
        self.events.append(event)

    info = warning

    def drop(self, spans: int) -> None:
        self.dropped += spans


class Pauses:
    """A sleep that a test ends."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.begun.set()
        await self.over.wait()
        self.over.clear()

    async def end(self) -> None:
        await self.begun.wait()
        self.begun.clear()
        self.over.set()


@dataclasses.dataclass
class Running:
    exporter: SpanExporter
    kept: Kept
    pauses: Pauses


@pytest.fixture
async def start():
    tasks, exporters = [], []

    def run(endpoint, **options):
        kept, pauses = Kept(), Pauses()
        exporter = SpanExporter(
            open_channel(endpoint), log=kept, on_drop=kept.drop, sleep=pauses.sleep, **options
        )
        tasks.append(asyncio.create_task(exporter.run()))
        exporters.append(exporter)
        return Running(exporter, kept, pauses)

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for exporter in exporters:
        await exporter.close(timeout=0.01)


def batch(name="a", filler=0):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name=name + "x" * filler)
    return request.SerializeToString()


async def test_what_is_offered_arrives_with_the_headers(start):
    async with collector() as kept, asyncio.timeout(20):
        running = start(kept.endpoint, metadata=parse_headers("X-Team=a, broken ,auth=b=c"))
        running.exporter.offer(batch("a"), 1)
        running.exporter.offer(batch("b"), 1)
        assert [span.name for span in await kept.wait_for(2)] == ["a", "b"]
        assert kept.metadata[0]["x-team"] == "a"
        assert kept.metadata[0]["auth"] == "b=c"
        assert running.kept.events == []


async def test_a_collector_that_is_away_costs_the_oldest_and_one_log_line(start):
    async with asyncio.timeout(20):
        running = start("http://127.0.0.1:1", limit_bytes=10 * len(batch()))
        for _ in range(1000):
            running.exporter.offer(batch(), 1)
        for _ in range(3):
            await running.pauses.end()
        assert running.kept.dropped >= 989
        assert running.kept.events == ["the trace collector refuses or is away"]
        assert running.pauses.seconds[:3] == [1.0, 2.0, 4.0]


async def test_a_collector_that_hangs_is_given_up_and_tried_again(start):
    async with collector() as kept, asyncio.timeout(20):
        kept.answering.clear()
        running = start(kept.endpoint, timeout=0.2)
        running.exporter.offer(batch("kept"), 1)
        await running.pauses.begun.wait()
        kept.answering.set()
        await running.pauses.end()
        await kept.wait_for(1)
        assert "kept" in {span.name for span in kept.spans()}
        assert running.kept.dropped == 0


async def test_the_return_of_the_collector_is_said_once(start):
    async with collector() as kept, asyncio.timeout(20):
        kept.refuse_with = grpc.StatusCode.UNAVAILABLE
        running = start(kept.endpoint)
        running.exporter.offer(batch("a"), 1)
        await running.pauses.end()
        await running.pauses.begun.wait()
        kept.refuse_with = None
        await running.pauses.end()
        await kept.wait_for(1)
        running.exporter.offer(batch("b"), 1)
        await kept.wait_for(2)
        assert running.kept.events == [
            "the trace collector refuses or is away",
            "the trace collector is back",
        ]


async def test_what_the_collector_will_never_take_is_dropped(start):
    async with collector() as kept, asyncio.timeout(20):
        kept.refuse_with = grpc.StatusCode.INVALID_ARGUMENT
        running = start(kept.endpoint)
        running.exporter.offer(batch("bad"), 7)
        while not running.kept.dropped:
            await asyncio.sleep(0)
        assert running.kept.dropped == 7
        kept.refuse_with = None
        running.exporter.offer(batch("good"), 1)
        assert [span.name for span in await kept.wait_for(1)] == ["good"]


async def test_close_sends_what_is_queued_and_counts_what_it_could_not():
    kept = Kept()
    async with collector() as there:
        exporter = SpanExporter(open_channel(there.endpoint), log=kept, on_drop=kept.drop)
        exporter.offer(batch("last"), 1)
        await exporter.close()
        assert [span.name for span in there.spans()] == ["last"]
    exporter = SpanExporter(open_channel("http://127.0.0.1:1"), log=kept, on_drop=kept.drop)
    exporter.offer(batch("lost"), 3)
    await exporter.close(timeout=0.2)
    assert kept.dropped == 3


async def test_a_batch_too_large_for_the_collector_is_not_sent_for_ever(start):
    async with collector() as kept, asyncio.timeout(20):
        kept.refuse_with = grpc.StatusCode.RESOURCE_EXHAUSTED
        running = start(kept.endpoint)
        running.exporter.offer(batch("too large"), 9)
        while not running.kept.dropped:
            await asyncio.sleep(0)
        kept.refuse_with = None
        running.exporter.offer(batch("next"), 1)
        assert [span.name for span in await kept.wait_for(1)] == ["next"]
        assert running.kept.dropped == 9
        assert running.pauses.seconds == []


async def test_close_gives_a_collector_that_hangs_its_time_and_no_more():
    kept = Kept()
    async with collector() as there, asyncio.timeout(20):
        there.answering.clear()
        exporter = SpanExporter(open_channel(there.endpoint), log=kept, on_drop=kept.drop, timeout=60)
        for _ in range(3):
            exporter.offer(batch(), 2)
        await exporter.close(timeout=0.2)
        assert kept.dropped == 6


async def test_while_the_collector_hangs_the_queue_keeps_the_newest(start):
    async with collector() as kept, asyncio.timeout(20):
        kept.answering.clear()
        running = start(kept.endpoint, limit_bytes=10 * len(batch("000")))
        for number in range(100):
            running.exporter.offer(batch(f"{number:03}"), 1)
            await asyncio.sleep(0)
        kept.answering.set()
        names = [span.name for span in await kept.wait_for(11)]
        # The first was on its way when the collector hung.
        assert names == ["000", *(f"{number:03}" for number in range(90, 100))]
        assert running.kept.dropped == 89


async def test_a_batch_above_the_limit_is_dropped_alone(start):
    async with collector() as kept, asyncio.timeout(20):
        running = start(kept.endpoint, limit_bytes=1000)
        running.exporter.offer(batch(filler=2000), 5)
        assert running.kept.dropped == 5
        running.exporter.offer(batch("small"), 1)
        assert [span.name for span in await kept.wait_for(1)] == ["small"]
