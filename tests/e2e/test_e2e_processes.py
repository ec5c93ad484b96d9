"""`headgate up --processes`: one suite of six processes that are kept alive, and ended in order."""

import asyncio
import os
import select
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import httpx2
import pytest
import pytest_asyncio

from headgate.inference.v1.inference_pb2 import (
    GenerateRequest,
    GenerationSpec,
    Message,
    Role,
    StreamGenerateRequest,
)
from headgate.inference.v1.inference_pb2_grpc import InferenceServiceStub
from headgate_testing.otlp import Collector
from headgate_testing.ports import free_port
from headgate_testing.provider import ScriptedProvider
from headgate_testing.suite import Suite, SuiteSpec

pytestmark = [pytest.mark.shapes, pytest.mark.asyncio(loop_scope="session")]

SERVICES = {"gateway", "inference", "auth", "registry", "routing", "metering"}
CONFIG = """
providers: [{{name: scripted, type: openai, base_url: "{url}"}}]
models: [{{id: gpt-4, provider: scripted}}]
"""


def spec_of(folder: Path, provider: ScriptedProvider, collector: Collector) -> SuiteSpec:
    names = ["HTTP", *(f"{name.upper()}_LISTEN" for name in SERVICES - {"gateway"})]
    variables = {f"HEADGATE_{name}": f"127.0.0.1:{free_port()}" for name in names}
    variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint
    config = CONFIG.format(url=provider.base_url)
    return SuiteSpec(folder, config, variables, ("-m", "headgate_suite", "up", "--processes"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstream() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def apart(
    upstream: ScriptedProvider, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Suite]:
    suite = await asyncio.to_thread(spec_of(tmp_path_factory.mktemp("apart"), upstream, collector).start)
    yield suite
    await asyncio.to_thread(suite.process.end)


def children_of(suite: Suite) -> dict[str, int]:
    """Process ids by service. A child that has ended, or has not begun its program, is none."""
    parent = suite.process.child.pid
    found = {}
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            found.update({word: int(pid) for word in words[-2:-1] if word in SERVICES})
    return found


def handles(pids: dict[str, int]) -> dict[int, str]:
    """Service by open handle (pidfd). To be opened while the processes live: what has ended leaves no number."""
    return {os.pidfd_open(pid): name for name, pid in pids.items()}


def endings(waiting: dict[int, str]) -> Iterator[str]:
    """The services in the order in which their processes end; those of one moment by name. Fails after 20 s."""
    while waiting:
        ended, _, _ = select.select(list(waiting), [], [], 20)
        assert ended, f"still there: {sorted(waiting.values())}"
        yield from sorted(waiting.pop(fd) for fd in ended)
        for fd in ended:
            os.close(fd)


def chat(*, stream: bool = False) -> dict[str, object]:
    return {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}], "stream": stream}


async def services_and_parents(collector: Collector, trace_id: str, count: int) -> dict[str, tuple[str, str]]:
    """Service and parent span of each span of a trace, by span id."""
    while True:
        found = {
            span.span_id.hex(): (of_resource.resource.attributes, span.parent_span_id.hex())
            for request in collector.traces
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
            if span.trace_id.hex() == trace_id
        }
        if len(found) >= count:
            return {
                span: (next(a.value.string_value for a in attributes if a.key == "service.name"), parent)
                for span, (attributes, parent) in found.items()
            }
        collector.arrived.clear()
        await collector.arrived.wait()


async def test_calls_work_on_both_transports_and_leave_one_trace_over_all_processes(
    apart: Suite, collector: Collector
) -> None:
    trace_id = uuid.uuid4().hex
    headers = {"authorization": f"Bearer {apart.key}", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    async with httpx2.AsyncClient(base_url=apart.url, headers=headers) as http, asyncio.timeout(20):
        whole = await http.post("/v1/chat/completions", json=chat())
        assert whole.json()["choices"][0]["message"]["content"] == "Hello from the provider."
        streamed = await http.post("/v1/chat/completions", json=chat(stream=True))
        assert "data: [DONE]" in streamed.text
        assert (await http.get("/v1/models")).status_code == 200
        spans = await services_and_parents(collector, trace_id, 8)
    roots = [span for span, (_, parent) in spans.items() if parent == "00f067aa0ba902b7"]
    assert [spans[root][0] for root in roots] == ["headgate-gateway"] * 3
    below = [(service, spans[parent][0]) for service, parent in spans.values() if parent in spans]
    assert sorted(below) == [
        ("headgate-inference", "headgate-gateway"),
        ("headgate-inference", "headgate-gateway"),
        ("headgate-inference", "headgate-inference"),
        ("headgate-inference", "headgate-inference"),
        ("headgate-registry", "headgate-gateway"),
    ]


async def test_inference_is_called_directly_too(apart: Suite) -> None:
    spec = GenerationSpec(model="gpt-4", messages=[Message(role=Role.ROLE_USER, text="Hello!")])
    metadata = (("authorization", f"Bearer {apart.key}"),)
    async with grpc.aio.insecure_channel(apart.grpc) as channel, asyncio.timeout(20):
        stub = InferenceServiceStub(channel)
        reply = await stub.Generate(GenerateRequest(spec=spec), metadata=metadata)
        assert reply.choices[0].message.text == "Hello from the provider."
        text = ""
        async for part in stub.StreamGenerate(StreamGenerateRequest(spec=spec), metadata=metadata):
            text += "".join(choice.text for event in part.events for choice in event.choices)
        assert text == "Hello from the provider."


@pytest.mark.parametrize("service", ["auth", "inference"])
async def test_a_process_that_dies_is_started_again_at_its_address(apart: Suite, service: str) -> None:
    before = children_of(apart)
    assert set(before) == SERVICES
    os.kill(before[service], signal.SIGKILL)
    headers = {"authorization": f"Bearer {apart.key}"}
    path = "/v1/keys" if service == "auth" else "/v1/chat/completions"
    async with httpx2.AsyncClient(base_url=apart.url, headers=headers) as http, asyncio.timeout(20):
        while children_of(apart).get(service, before[service]) == before[service]:
            await asyncio.sleep(0.02)
        method, body = ("GET", None) if service == "auth" else ("POST", chat())
        while (await http.request(method, path, json=body)).status_code != 200:
            await asyncio.sleep(0.05)
    after = children_of(apart)
    assert {name for name in SERVICES if after[name] != before[name]} == {service}
    lines = [line for line in apart.logs().splitlines() if '"a service ended"' in line]
    assert len([line for line in lines if f'"ended":"{service}"' in line]) == 1


async def test_a_stop_ends_callers_before_what_they_call(
    upstream: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    suite = await asyncio.to_thread(spec_of(tmp_path, upstream, collector).start)
    running = handles(children_of(suite))
    suite.process.child.send_signal(signal.SIGINT)
    order = await asyncio.to_thread(lambda: list(endings(running)))
    assert order[:2] == ["gateway", "inference"] and order[-1] == "metering"
    assert suite.process.child.wait(10) == 0


async def test_a_second_signal_ends_everything_at_once(
    upstream: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    suite = await asyncio.to_thread(spec_of(tmp_path, upstream, collector).start)
    children = children_of(suite)
    # Held still, the gateway keeps the gentle stop waiting.
    running = handles(children)
    os.kill(children["gateway"], signal.SIGSTOP)
    suite.process.child.send_signal(signal.SIGINT)
    suite.process.child.send_signal(signal.SIGTERM)
    assert len(await asyncio.to_thread(lambda: list(endings(running)))) == 6
    assert suite.process.child.wait(10) == 1


async def test_nothing_is_left_of_a_parent_that_was_killed(
    upstream: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    suite = await asyncio.to_thread(spec_of(tmp_path, upstream, collector).start)
    running = handles(children_of(suite))
    suite.kill()
    assert len(await asyncio.to_thread(lambda: list(endings(running)))) == 6


async def test_a_service_that_cannot_start_ends_the_suite_and_says_why(
    upstream: ScriptedProvider, collector: Collector, tmp_path: Path
) -> None:
    spec = spec_of(tmp_path, upstream, collector)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        spec.variables = {**spec.variables, "HEADGATE_ROUTING_LISTEN": address}
        with pytest.raises(RuntimeError) as refused:
            await asyncio.to_thread(spec.start)
    assert f"headgate: {address} is taken; set HEADGATE_ROUTING_LISTEN" in str(refused.value)
    assert "headgate: routing did not start" in str(refused.value) and "Traceback" not in str(refused.value)
