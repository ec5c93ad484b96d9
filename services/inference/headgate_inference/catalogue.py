"""What this process knows of models and routes: followed by watch, complete from the first call on, kept while
the services that push it are away."""

import asyncio
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from headgate.registry.v1 import registry_pb2
from headgate.routing.v1 import routing_pb2
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_clock import Clock
from headgate_inference.adapters.base import Model
from headgate_inference.deployments import Deployment, DeploymentBuilder, Deployments
from headgate_picker import Picker, RouteTable
from headgate_rpc.snapshot import SnapshotFile
from headgate_rpc.watcher import Update, Watcher

R = TypeVar("R", bound=Message)


class Catalogue:
    """Deployments by candidate id, and the picker over the route table."""

    def __init__(self, picker: Picker, builder: DeploymentBuilder) -> None:
        self.picker = picker
        self.deployments = Deployments({}, {})
        self._builder = builder
        self._items: tuple[registry_pb2.CatalogueItem, ...] = ()

    @property
    def version(self) -> int:
        """Version of the route table in use."""
        return self.picker.table.version

    def deployment(self, candidate_id: str) -> Deployment | None:
        """The deployment of a candidate, None when the catalogue does not have it (any more)."""
        return self.deployments.by_id.get(candidate_id)

    def model(self, name: str) -> Model | None:
        """The model a name stands for (an alias for several: its first), None for an unknown name."""
        route = self.picker.table.routes.get(name)
        if route is None or not route.candidates:
            return self.deployments.models.get(name)
        return self.deployments.models.get(route.candidates[0].model)

    def names(self) -> list[str]:
        """Everything a caller may ask for, sorted."""
        return sorted(self.picker.table.routes)

    def replace_items(self, update: Update[registry_pb2.CatalogueItem]) -> None:
        """Take a new state of the catalogue."""
        self._items = tuple(update.items.values())
        self.rebuild()

    def rebuild(self) -> None:
        """Make the deployments anew: something that the catalogue only refers to has changed."""
        self.deployments = self._builder.build(self._items)

    def replace_routes(self, update: Update[routing_pb2.Route]) -> None:
        """Take a new state of the route table."""
        self.picker.replace(RouteTable(update.items, update.position.version))


class CatalogueFollower:
    """Keeps a catalogue up to date. In the folder `snapshots` it is kept for a start while the sources are away."""

    def __init__(
        self,
        catalogue: Catalogue,
        registry: RegistryClient,
        routing: RoutingClient,
        clock: Clock,
        snapshots: Path | None = None,
    ) -> None:
        def snapshot(name: str, response_class: type[R]) -> SnapshotFile[R] | None:
            return None if snapshots is None else SnapshotFile(snapshots / name, response_class, clock)

        self._items = Watcher[registry_pb2.CatalogueItem](
            "catalogue",
            lambda seen: registry.watch_catalogue(registry_pb2.WatchCatalogueRequest(position=seen)),
            item_key,
            catalogue.replace_items,
            clock=clock,
            snapshot=snapshot("inference-catalogue", registry_pb2.WatchCatalogueResponse),
        )
        self._routes = Watcher[routing_pb2.Route](
            "routes",
            lambda seen: routing.watch_routes(routing_pb2.WatchRoutesRequest(position=seen)),
            lambda route: route.name,
            catalogue.replace_routes,
            clock=clock,
            snapshot=snapshot("inference-routes", routing_pb2.WatchRoutesResponse),
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether catalogue and routes have both arrived."""
        return self._items.ready.is_set() and self._routes.ready.is_set()

    @property
    def watches(self) -> tuple[Watcher[Any], ...]:
        """What is followed, for its metrics."""
        return self._items, self._routes

    def age_seconds(self) -> float:
        """How long ago the staler of the two sources was last heard."""
        return max(self._items.age_seconds(), self._routes.age_seconds())

    async def start(self) -> None:
        """Begin to follow; does not wait, the sources may start later."""
        self._tasks = [asyncio.create_task(each.run()) for each in (self._items, self._routes)]

    async def arrived(self) -> None:
        """Return when catalogue and routes are both there."""
        await asyncio.gather(self._items.ready.wait(), self._routes.ready.wait())

    async def stop(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def item_key(item: registry_pb2.CatalogueItem) -> str:
    """The key that deltas name an item by."""
    kind = item.WhichOneof("item")
    if kind == "provider":
        return f"provider/{item.provider.name}"
    return f"model/{item.model.id}" if kind == "model" else f"alias/{item.alias.name}"
