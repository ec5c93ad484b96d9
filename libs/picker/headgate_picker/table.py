"""One snapshot of the route table. The routes are turned into plain objects once, so that a pick reads no
protobuf message."""

from collections.abc import Mapping
from dataclasses import dataclass

from headgate.routing.v1 import routing_pb2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment of one model; the fields of headgate.routing.v1.Candidate."""

    id: str
    model: str
    provider: str
    upstream_id: str
    weight: int


@dataclass(frozen=True, slots=True)
class Route:
    """Equal choices for one name, and the names to try after them."""

    name: str
    candidates: tuple[Candidate, ...]
    fallbacks: tuple[str, ...]


class RouteTable:
    """The routes by name, as of `version` of the watch stream. Does not change."""

    __slots__ = ("routes", "version")

    def __init__(self, routes: Mapping[str, routing_pb2.Route], version: int = 0) -> None:
        self.version = version
        self.routes: Mapping[str, Route] = {name: _route(message) for name, message in routes.items()}

    def __contains__(self, name: object) -> bool:
        return name in self.routes


def _route(message: routing_pb2.Route) -> Route:
    candidates = (
        Candidate(each.id, each.model, each.provider, each.upstream_id, max(each.weight, 1))
        for each in message.candidates
    )
    return Route(message.name, tuple(candidates), tuple(message.fallbacks))
