"""Where the processes of `headgate up --processes` listen: each on an address of its own that stays the same when it
is started again."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from headgate_hosting.service import START_ORDER
from headgate_hosting.settings import AddressSettings
from headgate_settings import HostPort
from headgate_settings.loaded import LoadedSettings
from headgate_telemetry.settings import TelemetrySettings


@dataclass(frozen=True, slots=True)
class Place:
    """One service: its address (of the REST API for the gateway, else of gRPC) and that of its ops listener."""

    service: str
    address: HostPort
    ops: HostPort


def layout(settings: LoadedSettings) -> dict[str, Place]:
    """The place of every service. The ops listeners take HEADGATE_OPS, for the gateway, and the ports after it; port
    0 becomes a free one."""
    addresses, ops = settings.of(AddressSettings), settings.of(TelemetrySettings).ops
    wanted = {name: address for name, (_, address) in addresses.listens.items()} | {"gateway": addresses.http}
    places = {}
    for number, name in enumerate(reversed(START_ORDER)):
        port = ops.port + number if ops.port else 0
        places[name] = Place(name, _fixed(wanted[name]), _fixed(HostPort(ops.host, port)))
    return places


def environment_of(place: Place, places: Mapping[str, Place], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a service's process."""
    own = {"HEADGATE_HTTP": str(places["gateway"].address), "HEADGATE_OPS": str(place.ops)}
    for other in places.values():
        if other.service != "gateway":
            prefix = f"HEADGATE_{other.service.upper()}"
            own |= {f"{prefix}_LISTEN": str(other.address), f"{prefix}_TARGET": str(other.address)}
    return {**environ, **own}


def _fixed(address: HostPort) -> HostPort:
    if address.port:
        return address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.create_server((address.host, 0), family=family) as found:
        return HostPort(address.host, found.getsockname()[1])
