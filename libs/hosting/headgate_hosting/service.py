"""What a service says about itself to the process that hosts it, and what it finds there."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

from headgate_admission.admission import Admission
from headgate_clock import Clock
from headgate_hosting.listener import Listener
from headgate_hosting.peers import Peers
from headgate_rpc.lifecycle import Part
from headgate_settings.config import ConfigFile
from headgate_settings.loaded import LoadedSettings
from headgate_telemetry.telemetry import Telemetry

FailingParts = Callable[[], Sequence[str]]

CONTROL_PLANE = ("auth", "metering", "registry", "routing")
DATA_PLANE = ("inference", "gateway")
START_ORDER = (*CONTROL_PLANE, *DATA_PLANE)
"""All services, in the order in which a process that hosts several starts them."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a service finds in its process. `own_ports` are the suite's, as far as they are known; `failing` names
    what keeps the process from serving."""

    settings: LoadedSettings
    data: Path
    config_file: ConfigFile
    clock: Clock
    telemetry: Telemetry
    peers: Peers
    admission: Admission
    own_ports: frozenset[int]
    failing: FailingParts

    @property
    def snapshots(self) -> Path:
        """Where what other processes pushed is kept for the next start."""
        return self.data / "snapshots"


async def at_once() -> None:
    """Nothing has to arrive from elsewhere."""


def nothing() -> Sequence[str]:
    """Nothing fails."""
    return ()


@dataclass(frozen=True, slots=True)
class Hosted:
    """A service at its site. `parts` start in order and stop in the opposite order; then its own `listener` is
    opened, and `arrived` returns when it can answer. `failing` names what keeps it from that later."""

    servicer: object = None
    parts: Sequence[Part] = ()
    listener: Listener | None = None
    arrived: Callable[[], Awaitable[None]] = at_once
    failing: FailingParts = nothing


@dataclass(frozen=True, slots=True)
class Service:
    """A service as a process sees it. `contract` is None for one that is not called by gRPC. `host` builds it; what
    it raises of `faults` is one line for the operator."""

    name: str
    contract: ServiceDescriptor | None
    settings: tuple[type[object], ...]
    host: Callable[[Site], Hosted]
    faults: tuple[type[Exception], ...] = ()
