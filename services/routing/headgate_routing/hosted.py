"""Routing, as a process hosts it."""

from headgate.routing.v1 import routing_pb2
from headgate_clients.registry import RegistryClient
from headgate_hosting.service import Hosted, Service, Site
from headgate_routing.app import build
from headgate_rpc.watch_gauges import watch_gauges


def _host(site: Site) -> Hosted:
    peers = site.peers
    app = build(
        site.config_file,
        site.clock,
        RegistryClient(peers.channel("registry")),
        snapshots=None if peers.are_here("registry") else site.snapshots,
    )
    watch_gauges(site.telemetry.metrics, app.watches)
    return Hosted(app.servicer, [app])


SERVICE = Service(
    name="routing",
    contract=routing_pb2.DESCRIPTOR.services_by_name["RoutingService"],
    settings=(),
    host=_host,
)
