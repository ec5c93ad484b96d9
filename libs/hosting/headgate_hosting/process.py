"""One process of the suite: the services it hosts behind one gate, its listeners, its telemetry; in which order they
begin, and end."""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version

from headgate_clock import SystemClock
from headgate_hosting.gate import Gate
from headgate_hosting.listener import GrpcAddress, Listener, check, grpc_listener
from headgate_hosting.peers import Peers
from headgate_hosting.readiness import Readiness
from headgate_hosting.service import CONTROL_PLANE, Service, Site
from headgate_hosting.settings import AddressSettings, ProcessSettings
from headgate_hosting.suite_secret import suite_secret
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_rpc.lifecycle import Part
from headgate_rpc.server import RpcServer, ServerOptions
from headgate_settings import HostPort, Secret
from headgate_settings.config import ConfigFile
from headgate_settings.loaded import LoadedSettings
from headgate_telemetry.settings import TelemetrySettings
from headgate_telemetry.telemetry import Telemetry

SETTINGS: tuple[type[object], ...] = (ProcessSettings, AddressSettings, TelemetrySettings)
"""What every process reads; each service adds its own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process is to be. `name` is its name in logs and traces; services stand in the order of their start."""

    name: str
    services: Sequence[Service]
    grpc: Sequence[GrpcAddress]
    settings: LoadedSettings
    config_file: ConfigFile


def server_options(settings: ProcessSettings, secret: Secret) -> ServerOptions:
    """How the gRPC servers of a process behave."""
    return ServerOptions(
        max_connection_age_ms=round(settings.connection_age * 1000),
        drain_wait_s=settings.drain_wait,
        reflection=settings.reflection == "on",
        suite_secret=secret,
    )


class Process:
    """`start`, read `listeners` and `ops`, `stop`. Stopping works at any time, during the start too."""

    def __init__(self, plan: Plan) -> None:
        self.ops = HostPort("", 0)
        self.listeners: list[Listener] = []
        self.readiness = Readiness()
        self._plan = plan
        self._settings = plan.settings.of(ProcessSettings)
        self._addresses = plan.settings.of(AddressSettings)
        self._clock = SystemClock()
        self._gate = Gate(self._clock)
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """Return when calls can be served, however long that takes. Raises OSError for a taken address,
        SettingsError, ConfigError and the services' faults for what cannot be used. `stop` is due then too."""
        self._settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = frozenset(service.name for service in self._plan.services)
        self._check_addresses(names)
        secret = suite_secret(self._settings, self._addresses.targets_but(names))
        telemetry = await self._open_telemetry()
        here = InprocChannel()
        host = Host(self._gate.admission, telemetry.observer, self._clock)
        here.connect(host)
        peers = Peers(here, names, self._addresses.target, secret)
        self._running.push_async_callback(peers.close)
        await self._host_all(host, self._site(telemetry, peers))
        self._run(self._plan.config_file.watch())
        await self._listen_for_grpc(host, secret)
        self.readiness.begin()

    async def stop(self) -> None:
        """Finish running calls, write and send what is left, let go of everything."""
        self.readiness.end()
        await asyncio.gather(*(listener.end(self._settings.grace) for listener in self.listeners))
        await self._running.aclose()

    def _check_addresses(self, services: Collection[str]) -> None:
        for each in self._plan.grpc:
            check(each.address, each.variable)
        if "gateway" in services:
            check(self._addresses.http, "HEADGATE_HTTP")

    async def _open_telemetry(self) -> Telemetry:
        settings = self._plan.settings.of(TelemetrySettings)
        telemetry = Telemetry(settings, self._plan.name, version("headgate"))
        self._running.push_async_callback(telemetry.close)
        self.ops = await telemetry.start(self.readiness.failing)
        return telemetry

    def _site(self, telemetry: Telemetry, peers: Peers) -> Site:
        own = (self._addresses.http, self.ops, *(each.address for each in self._plan.grpc))
        return Site(
            settings=self._plan.settings,
            data=self._settings.data,
            config_file=self._plan.config_file,
            clock=self._clock,
            telemetry=telemetry,
            peers=peers,
            admission=self._gate.admission,
            own_ports=frozenset(address.port for address in own),
            failing=self.readiness.failing,
        )

    async def _host_all(self, host: Host, site: Site) -> None:
        """The control plane, then the gate that asks it, then the services that wait for both."""
        guarded = any(service.contract is not None for service in self._plan.services)
        if guarded:
            self._gate.connect(site.peers, site.telemetry.metrics, site.snapshots)
        for service in self._plan.services:
            if service.name in CONTROL_PLANE:
                await self._host(service, host, site)
        if guarded:
            await self._begin(self._gate)
        for service in self._plan.services:
            if service.name not in CONTROL_PLANE:
                await self._host(service, host, site)

    async def _host(self, service: Service, host: Host, site: Site) -> None:
        hosted = service.host(site)
        self.readiness.add(service.name, hosted.failing)
        if service.contract is not None:
            host.add(service.contract, hosted.servicer)
        for part in hosted.parts:
            await self._begin(part)
        if hosted.listener is not None:
            await self._listen(hosted.listener)
        await hosted.arrived()

    async def _listen_for_grpc(self, host: Host, secret: Secret) -> None:
        options = server_options(self._settings, secret)
        servers = [(RpcServer(host, str(each.address), options), each) for each in self._plan.grpc]
        for server, address in servers:
            await self._listen(grpc_listener(server, address))
        self._run(self.readiness.tell([server for server, _ in servers]))

    async def _begin(self, part: Part) -> None:
        self._running.push_async_callback(part.stop)
        await part.start()

    async def _listen(self, listener: Listener) -> None:
        self.listeners.append(listener)
        await listener.open()

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        self._running.push_async_callback(end)
