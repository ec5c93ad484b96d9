"""A process: in which order what it hosts begins and ends, and what it says of itself meanwhile."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import httpx2
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headgate.routing.v1 import routing_pb2
from headgate_hosting.faults import CannotServe
from headgate_hosting.foreground import run
from headgate_hosting.listener import GrpcAddress, Listener
from headgate_hosting.process import SETTINGS, Plan, Process, server_options
from headgate_hosting.service import Hosted, Service, Site
from headgate_hosting.settings import ProcessSettings
from headgate_rpc.grpc_options import ServerOptions, server_arguments
from headgate_settings import HostPort, Secret, SettingsError, load
from headgate_settings.config import ConfigFile
from headgate_settings.loaded import LoadedSettings
from headgate_testing.ports import free_port

ROUTING = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"]
ANYWHERE = HostPort("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A process takes over the logs of the interpreter; here it gives them back."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**config)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


class Noted:
    """A part that writes down its beginning and its end."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    async def start(self) -> None:
        self._notes.append(f"+{self._name}")

    async def stop(self) -> None:
        self._notes.append(f"-{self._name}")


class Routing:
    async def WatchRoutes(
        self, request: routing_pb2.WatchRoutesRequest, call: object
    ) -> AsyncIterator[routing_pb2.WatchRoutesResponse]:
        yield routing_pb2.WatchRoutesResponse()


def service(name: str, host: Callable[[Site], Hosted]) -> Service:
    return Service(name, ROUTING if name == "routing" else None, (), host, faults=(ZeroDivisionError,))


def noted(name: str, notes: list[str]) -> Service:
    return service(name, lambda _: Hosted(Routing(), [Noted(name, notes)]))


def plan(folder: Path, services: Sequence[Service], address: HostPort = ANYWHERE) -> Plan:
    environ = {
        "HEADGATE_DATA": str(folder),
        "HEADGATE_OPS": "127.0.0.1:0",
        "HEADGATE_GRACE": "1s",
        **{f"HEADGATE_{name}_TARGET": "127.0.0.1:9" for name in ("AUTH", "METERING")},
    }
    settings = LoadedSettings(SETTINGS, environ)
    grpc = [GrpcAddress(address, "HEADGATE_ROUTING_LISTEN", ("routing",))]
    return Plan("test", services, grpc, settings, ConfigFile(folder / "none.yaml", environ))


async def status(process: Process, path: str) -> int:
    async with httpx2.AsyncClient() as http:
        return (await http.get(f"http://{process.ops}{path}")).status_code


def test_the_grpc_servers_are_as_the_operator_wants_them() -> None:
    environ = {"HEADGATE_DRAIN_WAIT": "5s", "HEADGATE_RPC_CONNECTION_AGE": "1m", "HEADGATE_REFLECTION": "off"}
    options = server_options(load(ProcessSettings, environ), Secret("s"))
    assert (options.drain_wait_s, options.max_connection_age_ms, options.reflection) == (5, 60_000, False)
    assert options.suite_secret == Secret("s")


def test_whoever_ends_a_process_gives_it_the_drain_and_the_grace() -> None:
    environ = {"HEADGATE_DRAIN_WAIT": "40s", "HEADGATE_GRACE": "1m"}
    assert load(ProcessSettings, environ).leave_s == 100


def test_unset_they_are_as_libs_rpc_thinks_best() -> None:
    assert server_options(ProcessSettings(), Secret()) == ServerOptions(suite_secret=Secret())


@pytest.mark.parametrize("age", ["0", "1s", "20d"])
def test_grpc_can_hold_every_age_that_the_settings_take(age: str) -> None:
    settings = load(ProcessSettings, {"HEADGATE_RPC_CONNECTION_AGE": age})
    arguments = dict(server_arguments(server_options(settings, Secret())))
    assert int(arguments.get("grpc.max_connection_age_ms", 0)) * 1.1 < 2**31
    assert ("grpc.max_connection_age_ms" in arguments) is (age != "0")


@pytest.mark.parametrize("age", ["999ms", "21d"])
def test_an_age_that_would_help_nobody_is_refused(age: str) -> None:
    with pytest.raises(SettingsError, match="HEADGATE_RPC_CONNECTION_AGE: must be"):
        load(ProcessSettings, {"HEADGATE_RPC_CONNECTION_AGE": age})


async def test_the_control_plane_begins_first_and_ends_last_listeners_the_other_way_round(
    tmp_path: Path,
) -> None:
    notes: list[str] = []
    rest = Noted("rest", notes)

    async def bind() -> int:
        await rest.start()
        return 80

    async def end(grace_s: float) -> None:
        assert grace_s == 1
        await rest.stop()

    listener = Listener("REST", ANYWHERE, "HEADGATE_HTTP", ("gateway",), bind, end)
    gateway = service("gateway", lambda _: Hosted(parts=[Noted("gateway", notes)], listener=listener))
    process = Process(plan(tmp_path, [noted("registry", notes), noted("routing", notes), gateway]))
    await process.start()
    assert notes == ["+registry", "+routing", "+gateway", "+rest"]
    assert [each.label for each in process.listeners] == ["REST", "gRPC"]
    assert listener.address == HostPort("127.0.0.1", 80) and process.listeners[1].address.port
    await process.stop()
    assert notes[4:] == ["-rest", "-gateway", "-routing", "-registry"]


async def test_a_process_that_waits_for_others_is_alive_not_ready_and_can_be_stopped(tmp_path: Path) -> None:
    notes: list[str] = []
    waiting = asyncio.Event()

    async def never() -> None:
        waiting.set()
        await asyncio.Event().wait()

    patient = service("inference", lambda _: Hosted(parts=[Noted("inference", notes)], arrived=never))
    process = Process(plan(tmp_path, [noted("routing", notes), patient]))
    starting = asyncio.create_task(process.start())
    await waiting.wait()
    assert await status(process, "/healthz") == 200
    assert await status(process, "/readyz") == 503
    assert process.listeners == []
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await process.stop()
    assert notes == ["+routing", "+inference", "-inference", "-routing"]


async def test_a_taken_address_is_told_with_its_variable_before_anything_starts(tmp_path: Path) -> None:
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = HostPort(*taken.getsockname())
        process = Process(plan(tmp_path, [noted("routing", notes)], address))
        with pytest.raises(OSError, match=f"{address} is taken; set HEADGATE_ROUTING_LISTEN"):
            await process.start()
        await process.stop()
    assert notes == []


async def test_nothing_stays_behind_when_an_address_is_taken_meanwhile(tmp_path: Path) -> None:
    notes: list[str] = []
    address = HostPort("127.0.0.1", free_port())
    with ExitStack() as stack:

        def take(_: Site) -> Hosted:
            stack.enter_context(socket.create_server((address.host, address.port)))
            return Hosted(Routing(), [Noted("routing", notes)])

        process = Process(plan(tmp_path, [service("routing", take)], address))
        with pytest.raises(OSError, match=f"{address} is taken; set HEADGATE_ROUTING_LISTEN"):
            await process.start()
        await process.stop()
    assert notes == ["+routing", "-routing"]


async def test_health_says_what_readiness_says(tmp_path: Path) -> None:
    failing: list[str] = []
    routing = service("routing", lambda _: Hosted(Routing(), failing=lambda: failing))
    process = Process(plan(tmp_path, [routing]))
    await process.start()
    async with grpc.aio.insecure_channel(str(process.listeners[0].address)) as channel, asyncio.timeout(10):
        request = health_pb2.HealthCheckRequest(service="headgate.routing.v1.RoutingService")
        states = aiter(health_pb2_grpc.HealthStub(channel).Watch(request))
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.SERVING
        failing.append("store")
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await status(process, "/readyz") == 503
        failing.clear()
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.SERVING
    await process.stop()


def test_what_a_service_cannot_use_is_one_line(tmp_path: Path) -> None:
    broken = service("routing", lambda _: Hosted(1 // 0))
    with pytest.raises(CannotServe, match="division"):
        run(plan(tmp_path, [broken]), lambda _: "")
    unexpected = replace(broken, faults=())
    with pytest.raises(ZeroDivisionError):
        run(plan(tmp_path, [unexpected]), lambda _: "")
