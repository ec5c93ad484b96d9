"""The registry, as a process hosts it."""

from headgate.registry.v1 import registry_pb2
from headgate_hosting.service import Hosted, Service, Site
from headgate_registry.app import build
from headgate_registry.settings import RegistrySettings


def _host(site: Site) -> Hosted:
    settings = site.settings.of(RegistrySettings)
    app = build(settings, site.config_file, site.clock, own_ports=site.own_ports)
    return Hosted(app.servicer, [app])


SERVICE = Service(
    name="registry",
    contract=registry_pb2.DESCRIPTOR.services_by_name["RegistryService"],
    settings=(RegistrySettings,),
    host=_host,
)
