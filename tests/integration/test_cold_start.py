"""Routing and inference start from what they knew last while the registry is away (reliability, section 2)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import cast

import pytest

from headgate.registry.v1.registry_pb2 import (
    CatalogueItem,
    Deployment,
    Model,
    Provider,
    WatchCatalogueRequest,
    WatchCatalogueResponse,
)
from headgate.routing.v1.routing_pb2 import WatchRoutesRequest, WatchRoutesResponse
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_inference.adapters.mock import MockAdapter
from headgate_inference.catalogue import Catalogue, CatalogueFollower
from headgate_inference.deployments import DeploymentBuilder
from headgate_picker import Picker
from headgate_routing.app import RoutingApp, build
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource
from headgate_settings import Secret
from headgate_settings.config import ConfigFile
from headgate_testing.clock import FakeClock


class Registry:
    """RegistryClient over a source that may be away."""

    def __init__(self) -> None:
        self.source: WatchSource[CatalogueItem] | None = WatchSource(heartbeat_s=0.05)
        self.source.replace(
            {
                "provider/p": CatalogueItem(provider=Provider(name="p", type="mock")),
                "model/m": CatalogueItem(
                    model=Model(
                        id="m", deployments=[Deployment(id="p/m", provider="p", upstream_id="m", weight=1)]
                    )
                ),
            }
        )

    async def watch_catalogue(self, request: WatchCatalogueRequest) -> AsyncIterator[WatchCatalogueResponse]:
        if self.source is None:
            raise HeadgateError(Reason.SERVICE_UNAVAILABLE, "away")
        return self.source.follow(request.position, WatchCatalogueResponse)


class Routing:
    """RoutingClient to an app of this process, or to none."""

    def __init__(self, app: RoutingApp | None) -> None:
        self._app = app

    async def watch_routes(self, request: WatchRoutesRequest) -> AsyncIterator[WatchRoutesResponse]:
        if self._app is None:
            raise HeadgateError(Reason.SERVICE_UNAVAILABLE, "away")
        return self._app.servicer.WatchRoutes(request, None)  # type: ignore[arg-type]


class Life:
    """One run of routing and inference over the same folder."""

    def __init__(self, folder: Path, registry: Registry, clock: FakeClock, *, routing_there: bool) -> None:
        client = cast(RegistryClient, registry)
        self.routing = build(ConfigFile(folder / "none.yaml", {}), clock, client, folder / "snapshots")
        builder = DeploymentBuilder({"mock": MockAdapter()}, lambda reference: Secret())  # type: ignore[arg-type]
        self.catalogue = Catalogue(Picker(clock, Random(1)), builder)
        routing = cast(RoutingClient, Routing(self.routing if routing_there else None))
        self.inference = CatalogueFollower(self.catalogue, client, routing, clock, folder / "snapshots")

    async def start(self) -> None:
        await self.routing.start()
        await self.inference.start()

    async def stop(self) -> None:
        await self.inference.stop()
        await self.routing.stop()


@pytest.mark.parametrize("routing_there", [True, False])
async def test_models_are_known_after_a_start_without_registry(tmp_path: Path, routing_there: bool) -> None:
    clock, registry = FakeClock(), Registry()
    first = Life(tmp_path, registry, clock, routing_there=True)
    await first.start()
    await asyncio.wait_for(first.inference.arrived(), 10)
    await first.stop()

    registry.source = None
    clock.advance(3600)
    second = Life(tmp_path, registry, clock, routing_there=routing_there)
    await second.start()
    await asyncio.wait_for(second.inference.arrived(), 10)
    await asyncio.wait_for(second.routing.servicer.ready.wait(), 10)
    assert second.catalogue.names() == ["m"]
    assert second.catalogue.deployment("m@p/m") is not None
    assert [watch.age_seconds() >= 3600 for watch in second.routing.watches] == [True]
    await second.stop()


async def test_nothing_is_known_without_a_snapshot_and_routing_says_so(tmp_path: Path) -> None:
    registry = Registry()
    registry.source = None
    life = Life(tmp_path, registry, FakeClock(), routing_there=True)
    await life.start()
    with pytest.raises(HeadgateError) as refused:
        await asyncio.wait_for(
            anext(life.routing.servicer.WatchRoutes(WatchRoutesRequest(), None)),  # type: ignore[arg-type]
            10,
        )
    assert refused.value.reason is Reason.SERVICE_UNAVAILABLE
    assert not life.inference.ready
    await life.stop()


async def test_what_is_known_outlives_the_registry(tmp_path: Path) -> None:
    clock, registry = FakeClock(), Registry()
    life = Life(tmp_path, registry, clock, routing_there=True)
    await life.start()
    await asyncio.wait_for(life.inference.arrived(), 10)
    registry.source = None
    clock.advance(100_000)
    assert life.catalogue.names() == ["m"]
    await life.stop()


def test_a_snapshot_holds_no_key_of_a_provider() -> None:
    """The catalogue names where a key is found; there is no field for the key itself."""
    fields = {field.name for field in Provider.DESCRIPTOR.fields}
    assert fields == {"name", "type", "base_url", "credential_ref", "timeouts", "source", "options_json"}
