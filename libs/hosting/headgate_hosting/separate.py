"""The plan of a process that is not the whole suite: each service listens on its own address."""

from collections.abc import Mapping, Sequence

from headgate_hosting.listener import GrpcAddress
from headgate_hosting.process import Plan
from headgate_hosting.service import DATA_PLANE, Service
from headgate_hosting.settings import AddressSettings, ProcessSettings
from headgate_settings.config import ConfigFile
from headgate_settings.loaded import LoadedSettings


def separate(services: Sequence[Service], settings: LoadedSettings, environ: Mapping[str, str]) -> Plan:
    """The plan for these services, in the order of their start. Raises ConfigError."""
    listens = settings.of(AddressSettings).listens
    addresses = [
        GrpcAddress(address, variable, (service.name,))
        for service in services
        if service.contract is not None
        for variable, address in [listens[service.name]]
    ]
    config_file = ConfigFile(settings.of(ProcessSettings).config, environ)
    config_file.read()
    return Plan(f"headgate-{name_of(services)}", services, addresses, settings, config_file)


def name_of(services: Sequence[Service]) -> str:
    """What a process of these services is called."""
    names = tuple(service.name for service in services)
    return "edge" if names == DATA_PLANE else "-".join(names)
