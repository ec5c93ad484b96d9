"""Metering, as a process hosts it."""

from headgate.metering.v1 import metering_pb2
from headgate_database import StoreError
from headgate_hosting.service import Hosted, Service, Site
from headgate_metering.app import build
from headgate_metering.settings import MeteringSettings


def _host(site: Site) -> Hosted:
    app = build(site.settings.of(MeteringSettings), site.config_file, site.clock)
    return Hosted(app.servicer, [app])


SERVICE = Service(
    name="metering",
    contract=metering_pb2.DESCRIPTOR.services_by_name["MeteringService"],
    settings=(MeteringSettings,),
    host=_host,
    faults=(StoreError,),
)
