"""The shapes in which the suite is deployed: which services share a process, and how many of each there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVICES = ("inference", "auth", "registry", "routing", "metering")
"""The services that listen for gRPC."""

CONTROL_PLANE = ("auth", "registry", "routing", "metering")


@dataclass(frozen=True)
class Shape:
    """`groups`: the arguments of each `headgate serve`; `replicas` of a group, by its first name, where there is
    more than one; `servers`: whether state stands in PostgreSQL and Redis."""

    name: str
    groups: tuple[tuple[str, ...], ...]
    replicas: Mapping[str, int] = field(default_factory=dict)
    servers: bool = False

    def count(self, group: tuple[str, ...]) -> int:
        """How many processes of this group there are."""
        return self.replicas.get(group[0], 1)


_EACH = (("gateway",), ("inference",), ("auth",), ("registry",), ("routing",), ("metering",))

EDGE = Shape("edge", (("edge",), CONTROL_PLANE))
SEPARATE = Shape("separate", _EACH)
SCALED = Shape("scaled", _EACH, dict.fromkeys(SERVICES, 2), servers=True)


def services_of(group: tuple[str, ...]) -> tuple[str, ...]:
    """The services that a `headgate serve` with these arguments holds."""
    return tuple(name for word in group for name in (("gateway", "inference") if word == "edge" else (word,)))
