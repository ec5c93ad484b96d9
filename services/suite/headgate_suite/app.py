"""All services in one process: the composition root of `headgate up`.

Every service keeps the face it has on the wire; between them an `InprocChannel` makes a call a function call."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Literal, TypeVar

from headgate.auth.v1 import auth_pb2
from headgate.inference.v1 import inference_pb2
from headgate.metering.v1 import metering_pb2
from headgate.metering.v1.metering_pb2 import (
    AcquireLeasesRequest,
    AcquireLeasesResponse,
    RecordUsageRequest,
)
from headgate.registry.v1 import registry_pb2
from headgate.routing.v1 import routing_pb2
from headgate_admission.admission import Admission
from headgate_auth import app as auth
from headgate_auth.secret_files import kept_secret
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_clock import SystemClock
from headgate_gateway import app as gateway
from headgate_inference import app as inference
from headgate_journal import Journal, Shipper, ShipperLimits
from headgate_leases import LeaseHolder
from headgate_metering import app as metering
from headgate_metering.policies import BUILTIN_POLICIES
from headgate_metering.wire import policy_message
from headgate_registry import app as registry
from headgate_routing import app as routing
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_rpc.lifecycle import Part
from headgate_rpc.server import RpcServer, ServerOptions
from headgate_settings import HostPort, Secret
from headgate_settings.config import ConfigFile
from headgate_suite.gauges import watch_admission, watch_catalogue, watch_journal
from headgate_suite.settings import AllSettings
from headgate_telemetry.telemetry import Telemetry

T = TypeVar("T")

# Large batches halve what the ledger costs; a finished call still shows well within 2 s (USE-4).
SHIP_EVERY_S = 0.1


class Suite:
    """A whole suite: `start`, read the addresses, `stop`."""

    def __init__(self, settings: AllSettings, config_file: ConfigFile) -> None:
        self.rest = self.grpc = self.ops = HostPort("", 0)
        self.bootstrap_key = Secret()
        self._settings = settings
        self._config_file = config_file
        self._clock = SystemClock()
        self._channel = InprocChannel()
        self._running = AsyncExitStack()
        self._state: Literal["starting", "serving", "stopping"] = "starting"
        self._journal: Journal | None = None

    def failing(self) -> list[str]:
        """What keeps the suite from serving now, in a word each; empty when it serves."""
        if self._state != "serving":
            return [self._state]
        return [] if self._journal is not None and self._journal.accepts_calls else ["journal"]

    async def start(self) -> None:
        """Return when calls can be served. Raises OSError for a taken address, and ConfigError, StoreError or
        JournalError for what cannot be used; whatever had started is stopped then."""
        try:
            await self._start()
        except BaseException:
            await self._running.aclose()
            raise

    async def stop(self) -> None:
        """Finish running calls, write and send what is left, let go of everything."""
        self._state = "stopping"
        await self._running.aclose()

    async def _start(self) -> None:
        suite = self._settings.suite
        suite.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        telemetry = Telemetry(self._settings.telemetry, "headgate", version("headgate"))
        self._running.push_async_callback(telemetry.close)
        self.ops = await telemetry.start(self.failing)
        admission = Admission(self._clock, map(policy_message, BUILTIN_POLICIES.values()))
        host = Host(admission, telemetry.observer, self._clock)
        self._channel.connect(host)
        journal = self._open_journal()
        leases = LeaseHolder(journal.producer_id, self._acquire, self._clock)
        admission.connect(AuthClient(self._channel), MeteringClient(self._channel), leases)

        await self._start_control_plane(host)
        await self._run(leases.run(), leases.close)
        await self._part(admission)
        shipper = Shipper(journal, self._record, self._clock, ShipperLimits(interval_s=SHIP_EVERY_S))
        await self._run(shipper.run(), shipper.close)
        watch_journal(telemetry.metrics, journal, shipper)
        watch_admission(telemetry.metrics, admission, leases)
        watch_catalogue(telemetry.metrics, await self._start_inference(host, admission, journal))
        await self._run(self._config_file.watch(), _nothing)
        await self._listen(host, telemetry)

    def _open_journal(self) -> Journal:
        journal = Journal.open(
            self._settings.suite.data / "journal",
            clock=self._clock,
            sync=self._settings.inference.journal_sync,
        )
        self._running.callback(journal.close)
        self._journal = journal
        return journal

    async def _start_control_plane(self, host: Host) -> None:
        settings, file, clock = self._settings, self._config_file, self._clock
        auth_app = auth.build(settings.auth, clock)
        self.bootstrap_key = auth_app.bootstrap_key
        metering_app = metering.build(settings.metering, file, clock)
        own_ports = {settings.gateway.http.port, settings.suite.grpc.port, settings.telemetry.ops.port}
        registry_app = registry.build(settings.registry, file, clock, own_ports=own_ports)
        routing_app = routing.build(file, clock, RegistryClient(self._channel))
        host.add(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], auth_app.servicer)
        host.add(metering_pb2.DESCRIPTOR.services_by_name["MeteringService"], metering_app.servicer)
        host.add(registry_pb2.DESCRIPTOR.services_by_name["RegistryService"], registry_app.servicer)
        host.add(routing_pb2.DESCRIPTOR.services_by_name["RoutingService"], routing_app.servicer)
        for part in (auth_app, metering_app, registry_app, routing_app):
            await self._part(part)

    async def _start_inference(
        self, host: Host, admission: Admission, journal: Journal
    ) -> inference.InferenceApp:
        app = inference.build(
            self._settings.inference,
            registry=RegistryClient(self._channel),
            routing=RoutingClient(self._channel),
            admission=admission,
            journal=journal,
            config_file=self._config_file,
            clock=self._clock,
        )
        host.add(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"], app.servicer)
        await self._part(app)
        await app.arrived()
        return app

    async def _listen(self, host: Host, telemetry: Telemetry) -> None:
        settings = self._settings
        app = gateway.build(
            settings.gateway,
            gateway.Clients.over(self._channel),
            telemetry.recorder.add,
            self.failing,
            self._clock,
        )
        rest = gateway.build_server(settings.gateway, app)
        secret = settings.suite.suite_secret or kept_secret(
            settings.suite.data / "suite-secret", lambda: Secret(secrets.token_hex(32))
        )
        options = ServerOptions(reflection=settings.suite.reflection == "on", suite_secret=secret)
        rpc = RpcServer(host, str(settings.suite.grpc), options)
        http_port = await _bind(rest.start(), settings.gateway.http, "HEADGATE_HTTP")
        self._running.push_async_callback(rest.stop, settings.suite.grace)
        await _bind(rpc.start(), settings.suite.grpc, "HEADGATE_GRPC")
        self._running.push_async_callback(rpc.stop, settings.suite.grace)
        await rpc.set_serving(True)
        self._state = "serving"
        self.rest = HostPort(settings.gateway.http.host, http_port)
        self.grpc = HostPort(settings.suite.grpc.host, rpc.port)

    async def _part(self, part: Part) -> None:
        await part.start()
        self._running.push_async_callback(part.stop)

    async def _run(self, work: Coroutine[object, object, None], close: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            await close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._running.push_async_callback(end)

    async def _acquire(self, request: AcquireLeasesRequest) -> AcquireLeasesResponse:
        return (await MeteringClient(self._channel).acquire_leases(request)).message

    async def _record(self, request: RecordUsageRequest) -> None:
        await MeteringClient(self._channel).record_usage(request)


async def _nothing() -> None:
    """There is nothing to close."""


async def _bind(starting: Awaitable[T], address: HostPort, variable: str) -> T:
    try:
        return await starting
    except OSError as fault:
        raise OSError(f"{address} is taken; set {variable} to a free address") from fault
