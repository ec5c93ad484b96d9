"""The ops listener, the runtime watches and the whole put together."""

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys

import aiohttp
import pytest

from headgate_settings import HostPort, Secret, SettingsError, load
from headgate_telemetry.metrics import Distribution, Gauge, Metrics
from headgate_telemetry.ops import OpsServer
from headgate_telemetry.plain_structlog import structlog
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord
from headgate_telemetry.runtime import GarbageWatch, LoopWatch
from headgate_telemetry.settings import TelemetrySettings
from headgate_telemetry.telemetry import Telemetry
from headgate_telemetry.trace import child_of, continue_trace, sample_new_traces
from headgate_testing.otlp import collector

ANY = HostPort("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def logs_as_they_were():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sample_new_traces(1.0)


async def get(address, path):
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as reply:
        return reply.status, await reply.text()


async def test_health_readiness_and_metrics_are_served():
    failing = ["auth"]
    metrics = Metrics()
    metrics.tally("things_total", "Things.").add((), 3)
    server = OpsServer(ANY, metrics, lambda: failing)
    address = await server.start()
    assert await get(address, "/healthz") == (200, '{"status": "ok"}')
    assert await get(address, "/readyz") == (503, '{"status":"failing","failing":["auth"]}')
    failing.clear()
    assert (await get(address, "/readyz"))[0] == 200
    status, text = await get(address, "/metrics")
    assert (status, "things_total 3.0" in text, "process_resident_memory_bytes" in text) == (200, True, True)
    await server.close()


async def test_a_taken_port_names_the_variable_to_set():
    first = OpsServer(ANY, Metrics(), list)
    address = await first.start()
    with pytest.raises(OSError, match=f"{address} is taken; set HEADGATE_OPS"):
        await OpsServer(address, Metrics(), list).start()
    await first.close()


def test_settings_come_from_either_endpoint_variable_and_hide_the_headers():
    names = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4317", "OTEL_EXPORTER_OTLP_HEADERS": "k=secret"}
    settings = load(TelemetrySettings, names)
    assert settings.collector == "http://a:4317"
    assert "secret" not in repr(settings)
    assert settings.otlp_headers == Secret("k=secret")
    assert load(TelemetrySettings, names | {"HEADGATE_OTLP_ENDPOINT": "http://b:1"}).collector == "http://b:1"
    with pytest.raises(SettingsError, match=r"HEADGATE_TRACE_RATIO: 2\.0 is not between 0 and 1"):
        load(TelemetrySettings, {"HEADGATE_TRACE_RATIO": "2"})


async def test_a_pause_of_the_loop_is_seen():
    metrics = Metrics()
    watch = LoopWatch(metrics)
    loop = asyncio.get_running_loop()
    due = loop.time() - 0.3  # as if the loop had been held for so long
    watch._tick(loop, due)
    watch.stop()
    lag, longest = metrics
    assert isinstance(lag, Distribution)
    assert isinstance(longest, Gauge)
    assert lag.count() == 1
    assert longest.value() >= 0.3


def test_the_longest_pause_is_that_of_the_last_one_to_two_minutes():
    metrics = Metrics()
    watch = LoopWatch(metrics)
    _, longest = metrics
    assert isinstance(longest, Gauge)
    shown = []
    for second, pause in (
        (0, 0.0),
        (50, 0.5),
        (59, 0.1),
        (60, 0.0),
        (110, 0.2),
        (119, 0.0),
        (121, 0.0),
        (182, 0.0),
    ):
        watch.observe(1000 + second, 1000 + second + pause)
        shown.append(round(longest.value(), 3))
        assert longest.value() == longest.value()  # a second scraper sees the same
    assert shown == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0]


def test_collections_are_counted_by_generation():
    metrics = Metrics()
    watch = GarbageWatch(metrics)
    watch.start()
    gc.collect()
    watch.stop()
    gc.collect()
    (pauses,) = metrics
    assert isinstance(pauses, Distribution)
    assert pauses.count("2") == 1


async def test_a_call_becomes_a_line_a_tree_and_a_count():
    reader, writer = os.pipe()
    async with collector() as kept, asyncio.timeout(20):
        settings = TelemetrySettings(otlp_endpoint=kept.endpoint, ops=ANY)
        telemetry = Telemetry(settings, "headgate", "0.1.0", fd=writer)
        address = await telemetry.start(list)
        edge = EdgeRecord(
            "POST", "/v1/embeddings", "r", continue_trace(None), 10, 20, 200, reached_service=True
        )
        call = CallRecord(
            "s.S", "Embed", "POST /v1/embeddings", "r", child_of(edge.trace), 11, 19, operation="embeddings"
        )
        call.attempts.append(AttemptRecord(1, "p", "m", "u", child_of(call.trace), 12, 18))
        telemetry.recorder.add(call)
        telemetry.recorder.add(edge)
        telemetry.recorder.flush()
        spans = {span.span_id.hex(): span for span in await kept.wait_for(3)}
        assert len({span.trace_id for span in spans.values()}) == 1
        assert [span.name for span in spans.values()] == ["s.S/Embed", "embeddings m", "POST /v1/embeddings"]
        (root,) = (span for span in spans.values() if not span.parent_span_id)
        assert root.name == "POST /v1/embeddings"
        assert all(span.parent_span_id.hex() in spans for span in spans.values() if span is not root)
        resource = kept.traces[0].resource_spans[0].resource.attributes
        assert {each.key: each.value.string_value for each in resource}["service.name"] == "headgate"
        assert (
            'headgate_requests_total{method="Embed",reason="OK",service="s.S",status_class="2xx"} 1.0'
            in (await get(address, "/metrics"))[1]
        )
        await telemetry.close()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert [json.loads(line)["event"] for line in lines] == ["request", "attempt"]


async def test_without_a_collector_trace_ids_still_stand_in_the_lines():
    reader, writer = os.pipe()
    telemetry = Telemetry(TelemetrySettings(ops=ANY), "headgate", "0.1.0", fd=writer)
    call = CallRecord("s.S", "Embed", "/s.S/Embed", "r", continue_trace(None), 11, 19)
    telemetry.recorder.add(call)
    await telemetry.close()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert json.loads(lines.read())["trace_id"] == call.trace.trace_id


async def test_unsampled_traces_are_logged_but_not_sent():
    reader, writer = os.pipe()
    async with collector() as kept, asyncio.timeout(20):
        settings = TelemetrySettings(otlp_endpoint=kept.endpoint, trace_ratio=0.0, ops=ANY)
        telemetry = Telemetry(settings, "headgate", "0.1.0", fd=writer)
        telemetry.recorder.add(CallRecord("s.S", "Embed", "/s.S/Embed", "r", continue_trace(None), 11, 19))
        await telemetry.close()
        assert kept.traces == []
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert len(lines.readlines()) == 1


def test_importing_it_loads_no_sdk_no_web_server_and_no_rich():
    heavy = ["opentelemetry.sdk", "opentelemetry.proto", "aiohttp", "prometheus_client", "rich", "pygments"]
    code = f"import sys, headgate_telemetry.telemetry; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
