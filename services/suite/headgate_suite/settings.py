"""What can be set about the suite as a whole; each service adds its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headgate_settings import HostPort, Seconds, Secret, setting


@dataclass(frozen=True, slots=True)
class SuiteSettings:
    """Addresses, folders and the end of the process."""

    http: HostPort = setting(
        env="HEADGATE_HTTP", default=HostPort("127.0.0.1", 8080), help="Address of the REST gateway."
    )
    grpc: HostPort = setting(
        env="HEADGATE_GRPC", default=HostPort("127.0.0.1", 50051), help="Address of all gRPC services."
    )
    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
    )
    config: Path = setting(
        env="HEADGATE_CONFIG", default=Path("headgate.yaml"), help="Configuration file; it need not exist."
    )
    discovery: Literal["on", "off"] = setting(
        env="HEADGATE_DISCOVERY",
        default="on",
        help="Whether to look for model servers on this machine and provider keys in the environment.",
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
class ClientSettings:
    """How the command line reaches a running suite."""

    grpc: HostPort = setting(
        env="HEADGATE_GRPC", default=HostPort("127.0.0.1", 50051), help="Address of all gRPC services."
    )
    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
    )
    api_key: Secret = setting(
        env="HEADGATE_API_KEY",
        default=Secret(),
        help="Key the command line uses; default: the bootstrap key in the data folder.",
    )
