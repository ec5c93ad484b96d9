"""What can be set about any process of the suite, and where its services are found."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headgate_hosting.targets import problem_of
from headgate_settings import HostPort, Seconds, Secret, SettingsError, setting

# In milliseconds gRPC holds it in 31 bits, its ±10 % too.
MOST_CONNECTION_AGE_S = 20 * 86_400


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Folders, the suite's secret and the end of a process."""

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
    drain_wait: Seconds = setting(
        env="HEADGATE_DRAIN_WAIT",
        default=Seconds(1),
        help="How long a process that has to stop still takes gRPC calls after it has said so, for its callers "
        "to hear of it; comes before the grace.",
    )
    connection_age: Seconds = setting(
        env="HEADGATE_RPC_CONNECTION_AGE",
        default=Seconds(600),
        help="After how long (±10 %) gRPC clients connect anew, and find replicas that came later; running calls are "
        "not cut; 0: never.",
    )
    suite_secret: Secret = setting(
        env="HEADGATE_SUITE_SECRET",
        default=Secret(),
        help="By which the suite's own processes know each other, the same for all; default: made once in the "
        "data folder, which is enough on one machine.",
    )

    def __post_init__(self) -> None:
        if self.connection_age and not 1 <= self.connection_age <= MOST_CONNECTION_AGE_S:
            raise SettingsError(["HEADGATE_RPC_CONNECTION_AGE: must be 0, or from 1s to 20d"])

    @property
    def leave_s(self) -> float:
        """The longest time from a stop to the end of the last call."""
        return self.drain_wait + self.grace


@dataclass(frozen=True, slots=True)
class AddressSettings:
    """Where each service listens when it is not in `headgate up`, and where the others look for it. A target is any
    name that gRPC understands."""

    http: HostPort = setting(
        env="HEADGATE_HTTP", default=HostPort("127.0.0.1", 8080), help="Address of the REST API."
    )
    inference_listen: HostPort = setting(
        env="HEADGATE_INFERENCE_LISTEN",
        default=HostPort("127.0.0.1", 50051),
        help="gRPC address of inference in `headgate serve`.",
    )
    auth_listen: HostPort = setting(
        env="HEADGATE_AUTH_LISTEN",
        default=HostPort("127.0.0.1", 50052),
        help="gRPC address of auth in `headgate serve`.",
    )
    registry_listen: HostPort = setting(
        env="HEADGATE_REGISTRY_LISTEN",
        default=HostPort("127.0.0.1", 50053),
        help="gRPC address of registry in `headgate serve`.",
    )
    routing_listen: HostPort = setting(
        env="HEADGATE_ROUTING_LISTEN",
        default=HostPort("127.0.0.1", 50054),
        help="gRPC address of routing in `headgate serve`.",
    )
    metering_listen: HostPort = setting(
        env="HEADGATE_METERING_LISTEN",
        default=HostPort("127.0.0.1", 50055),
        help="gRPC address of metering in `headgate serve`.",
    )
    inference_target: str = setting(
        env="HEADGATE_INFERENCE_TARGET",
        default="",
        help="Where other processes find inference: any gRPC name, such as `dns:///inference:50051` or "
        "`ipv4:10.0.0.1:50051,10.0.0.2:50051`; default: where it listens.",
    )
    auth_target: str = setting(
        env="HEADGATE_AUTH_TARGET", default="", help="Where other processes and the command line find auth."
    )
    registry_target: str = setting(
        env="HEADGATE_REGISTRY_TARGET", default="", help="Where other processes find registry."
    )
    routing_target: str = setting(
        env="HEADGATE_ROUTING_TARGET", default="", help="Where other processes find routing."
    )
    metering_target: str = setting(
        env="HEADGATE_METERING_TARGET", default="", help="Where other processes find metering."
    )

    def __post_init__(self) -> None:
        problems = [
            f"{variable}: {target!r} {problem}"
            for variable, target in self.targets.values()
            if (problem := problem_of(target))
        ]
        if problems:
            raise SettingsError(problems)

    @property
    def listens(self) -> dict[str, tuple[str, HostPort]]:
        """Variable and gRPC address by service; the gateway has none."""
        return {
            "inference": ("HEADGATE_INFERENCE_LISTEN", self.inference_listen),
            "auth": ("HEADGATE_AUTH_LISTEN", self.auth_listen),
            "registry": ("HEADGATE_REGISTRY_LISTEN", self.registry_listen),
            "routing": ("HEADGATE_ROUTING_LISTEN", self.routing_listen),
            "metering": ("HEADGATE_METERING_LISTEN", self.metering_listen),
        }

    @property
    def targets(self) -> dict[str, tuple[str, str]]:
        """Variable and target by service."""
        return {
            "inference": ("HEADGATE_INFERENCE_TARGET", self.inference_target or str(self.inference_listen)),
            "auth": ("HEADGATE_AUTH_TARGET", self.auth_target or str(self.auth_listen)),
            "registry": ("HEADGATE_REGISTRY_TARGET", self.registry_target or str(self.registry_listen)),
            "routing": ("HEADGATE_ROUTING_TARGET", self.routing_target or str(self.routing_listen)),
            "metering": ("HEADGATE_METERING_TARGET", self.metering_target or str(self.metering_listen)),
        }

    def targets_but(self, services: Collection[str]) -> dict[str, str]:
        """Targets of all other services, by variable."""
        return dict(found for name, found in self.targets.items() if name not in services)

    def target(self, service: str) -> str:
        """Where a service is found."""
        return self.targets[service][1]
