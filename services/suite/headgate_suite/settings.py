"""What can be set about the suite as a whole; each service adds its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from headgate_auth.settings import AuthSettings
from headgate_gateway.settings import GatewaySettings
from headgate_hosting.settings import AddressSettings, ProcessSettings
from headgate_inference.settings import InferenceSettings
from headgate_metering.settings import MeteringSettings
from headgate_registry.settings import RegistrySettings
from headgate_settings import HostPort, check_unknown, setting
from headgate_settings.loaded import LoadedSettings
from headgate_suite.client_settings import ClientSettings
from headgate_telemetry.settings import TelemetrySettings


@dataclass(frozen=True, slots=True)
class SuiteSettings:
    """All services in one process."""

    grpc: HostPort = setting(
        env="HEADGATE_GRPC",
        default=HostPort("127.0.0.1", 50051),
        help="Address of all gRPC services in `headgate up`.",
    )


SETTINGS_CLASSES: tuple[type[object], ...] = (
    SuiteSettings,
    ProcessSettings,
    AddressSettings,
    GatewaySettings,
    AuthSettings,
    RegistrySettings,
    MeteringSettings,
    InferenceSettings,
    TelemetrySettings,
    ClientSettings,
)


def load_all(environ: Mapping[str, str]) -> LoadedSettings:
    """Every owner's settings. Raises SettingsError with all problems, unknown variables among them."""
    check_unknown(environ, SETTINGS_CLASSES)
    return LoadedSettings(SETTINGS_CLASSES, environ)
