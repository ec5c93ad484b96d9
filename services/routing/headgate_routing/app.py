"""Composition root of routing."""

import asyncio
from pathlib import Path

from headgate.registry.v1.registry_pb2 import CatalogueItem, WatchCatalogueRequest, WatchCatalogueResponse
from headgate.watch.v1.watch_pb2 import Position
from headgate_clients.registry import RegistryClient
from headgate_clock import Clock
from headgate_routing.servicer import RoutingServicer
from headgate_routing.table import route_table
from headgate_rpc.channel import StreamReply
from headgate_rpc.snapshot import SnapshotFile
from headgate_rpc.watcher import Update, Watcher
from headgate_settings.config import Config, ConfigFile


class RoutingApp:
    """The running service: follows the registry, serves the table. `servicer.ready` tells when there is one."""

    def __init__(
        self, config_file: ConfigFile, clock: Clock, registry: RegistryClient, snapshots: Path | None
    ) -> None:
        self.servicer = RoutingServicer()
        self._config_file = config_file
        self._registry = registry
        self._watcher: Watcher[CatalogueItem] = Watcher(
            "routing-catalogue",
            self._open,
            key_of,
            self._on_update,
            clock=clock,
            snapshot=None if snapshots is None else _snapshot(snapshots, clock),
        )
        self._watching: asyncio.Task[None] | None = None
        config_file.subscribe(self._on_config)

    @property
    def watches(self) -> tuple[Watcher[CatalogueItem], ...]:
        """What is followed, for its metrics."""
        return (self._watcher,)

    async def start(self) -> None:
        """Begin to follow; does not wait, the registry may start later."""
        self._watching = asyncio.create_task(self._watcher.run())

    async def stop(self) -> None:
        """Stop following."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _open(self, position: Position) -> StreamReply[WatchCatalogueResponse]:
        return await self._registry.watch_catalogue(WatchCatalogueRequest(position=position))

    def _on_update(self, update: Update[CatalogueItem]) -> None:
        self.servicer.replace(route_table(update.items.values(), self._config_file.current.routing))

    def _on_config(self, config: Config) -> None:
        if self._watcher.ready.is_set():
            self.servicer.replace(route_table(self._watcher.items.values(), config.routing))


def key_of(item: CatalogueItem) -> str:
    """The key of a catalogue item, as its deletes name it."""
    kind = item.WhichOneof("item")
    if kind == "provider":
        return f"provider/{item.provider.name}"
    return f"model/{item.model.id}" if kind == "model" else f"alias/{item.alias.name}"


def _snapshot(folder: Path, clock: Clock) -> SnapshotFile[WatchCatalogueResponse]:
    return SnapshotFile(folder / "routing-catalogue", WatchCatalogueResponse, clock)


def build(
    config_file: ConfigFile, clock: Clock, registry: RegistryClient, snapshots: Path | None = None
) -> RoutingApp:
    """Routing over the catalogue that `registry` pushes and the routing section of `config_file`. In the folder
    `snapshots` the catalogue is kept for a start while the registry is away."""
    return RoutingApp(config_file, clock, registry, snapshots)
