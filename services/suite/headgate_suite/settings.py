"""What can be set about the suite as a whole; each service adds its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headgate_auth.settings import AuthSettings
from headgate_gateway.settings import GatewaySettings
from headgate_inference.settings import InferenceSettings
from headgate_metering.settings import MeteringSettings
from headgate_registry.settings import RegistrySettings
from headgate_settings import HostPort, Seconds, Secret, check_unknown, load, setting
from headgate_suite.client_settings import ClientSettings
from headgate_telemetry.settings import TelemetrySettings


@dataclass(frozen=True, slots=True)
class SuiteSettings:
    """Addresses, folders and the end of the process."""

    grpc: HostPort = setting(
        env="HEADGATE_GRPC", default=HostPort("127.0.0.1", 50051), help="Address of all gRPC services."
    )
    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
    )
    config: Path = setting(
        env="HEADGATE_CONFIG", default=Path("headgate.yaml"), help="Configuration file; it need not exist."
    )
    reflection: Literal["on", "off"] = setting(
        env="HEADGATE_REFLECTION", default="on", help="Whether the gRPC services describe themselves."
    )
    grace: Seconds = setting(
        env="HEADGATE_GRACE", default=Seconds(120), help="How long running calls may go on after a stop."
    )
    suite_secret: Secret = setting(
        env="HEADGATE_SUITE_SECRET",
        default=Secret(),
        help="By which the suite's own processes know each other; default: made once in the data folder.",
    )


@dataclass(frozen=True, slots=True)
class AllSettings:
    """Everything that can be set in `headgate up`, by owner."""

    suite: SuiteSettings
    gateway: GatewaySettings
    auth: AuthSettings
    registry: RegistrySettings
    metering: MeteringSettings
    inference: InferenceSettings
    telemetry: TelemetrySettings


SETTINGS_CLASSES: tuple[type[object], ...] = (
    SuiteSettings,
    GatewaySettings,
    AuthSettings,
    RegistrySettings,
    MeteringSettings,
    InferenceSettings,
    TelemetrySettings,
    ClientSettings,
)


def load_all(environ: Mapping[str, str]) -> AllSettings:
    """Every owner's settings. Raises SettingsError with all problems, unknown variables among them."""
    check_unknown(environ, SETTINGS_CLASSES)
    return AllSettings(
        suite=load(SuiteSettings, environ),
        gateway=load(GatewaySettings, environ),
        auth=load(AuthSettings, environ),
        registry=load(RegistrySettings, environ),
        metering=load(MeteringSettings, environ),
        inference=load(InferenceSettings, environ),
        telemetry=load(TelemetrySettings, environ),
    )
