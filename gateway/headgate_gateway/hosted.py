"""The gateway, as a process hosts it."""

import asyncio

from headgate_clients.auth import AuthClient
from headgate_clients.inference import InferenceClient
from headgate_clients.metering import MeteringClient
from headgate_clients.registry import RegistryClient
from headgate_gateway.app import Clients, build, build_server
from headgate_gateway.settings import GatewaySettings
from headgate_hosting.listener import Listener
from headgate_hosting.service import Hosted, Service, Site

_LOOK_EVERY_S = 0.05


def _host(site: Site) -> Hosted:
    settings, peers = site.settings.of(GatewaySettings), site.peers
    clients = Clients(
        InferenceClient(peers.channel("inference")),
        AuthClient(peers.channel("auth")),
        RegistryClient(peers.channel("registry")),
        MeteringClient(peers.channel("metering")),
    )
    server = build_server(
        settings, build(settings, clients, site.telemetry.recorder.add, site.failing, site.clock)
    )

    site.telemetry.metrics.gauge(
        "headgate_http_requests_running", "HTTP requests that are running now.", lambda: server.running
    )

    async def inference_there() -> None:
        while not peers.reachable("inference"):  # noqa: ASYNC110 - at the start only, and gRPC has no event for it
            await asyncio.sleep(_LOOK_EVERY_S)

    return Hosted(
        listener=Listener("REST", settings.http, "HEADGATE_HTTP", ("gateway",), server.start, server.stop),
        arrived=inference_there,
        failing=lambda: () if peers.reachable("inference") else ("inference",),
    )


SERVICE = Service(name="gateway", contract=None, settings=(GatewaySettings,), host=_host)
