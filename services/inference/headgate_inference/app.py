"""Inference put together."""

from pathlib import Path
from random import Random
from typing import Any

from headgate_admission.admission import Admission
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_clock import Clock
from headgate_inference.adapters.base import Adapter
from headgate_inference.adapters.http_client import HttpTransport
from headgate_inference.adapters.local import LocalAdapter
from headgate_inference.adapters.mock import MockAdapter
from headgate_inference.adapters.openai import OpenAIAdapter
from headgate_inference.adapters.transport import ProviderTransport
from headgate_inference.attempts import Attempts
from headgate_inference.catalogue import Catalogue, CatalogueFollower
from headgate_inference.deployments import DeploymentBuilder
from headgate_inference.embedding import Embedding
from headgate_inference.generation import Generation
from headgate_inference.opening import Opening
from headgate_inference.provider_keys import ProviderKeys
from headgate_inference.retry_budget import RetryBudget
from headgate_inference.servicer import InferenceServicer
from headgate_inference.settings import InferenceSettings
from headgate_journal import Journal
from headgate_picker import Picker
from headgate_rpc.watcher import Watcher
from headgate_settings import environment
from headgate_settings.config import ConfigFile


class InferenceApp:
    """The service: add `servicer` to a host; start it before serving, stop it after the last call has ended."""

    def __init__(
        self,
        servicer: InferenceServicer,
        follower: CatalogueFollower,
        transport: ProviderTransport,
        local: LocalAdapter,
    ) -> None:
        self.servicer = servicer
        self._follower = follower
        self._transport = transport
        self._local = local

    @property
    def watches(self) -> tuple[Watcher[Any], ...]:
        """What is followed, for its metrics."""
        return self._follower.watches

    @property
    def ready(self) -> bool:
        """Whether models and routes are known."""
        return self._follower.ready

    def catalogue_age_seconds(self) -> float:
        """How long ago registry or routing, whichever is longer, was last heard."""
        return self._follower.age_seconds()

    async def start(self) -> None:
        """Begin to follow registry and routing; does not wait for them."""
        await self._follower.start()

    async def arrived(self) -> None:
        """Return when models and routes are known."""
        await self._follower.arrived()

    async def stop(self) -> None:
        """Stop following, close the connections to providers and end the local models."""
        await self._follower.stop()
        await self._transport.close()
        await self._local.close()


def build(
    settings: InferenceSettings,
    *,
    registry: RegistryClient,
    routing: RoutingClient,
    admission: Admission,
    journal: Journal,
    config_file: ConfigFile,
    clock: Clock,
    transport: ProviderTransport | None = None,
    snapshots: Path | None = None,
) -> InferenceApp:
    """Inference over an open journal and a connected admission. Providers' keys are found in `config_file` and in
    the environment. In the folder `snapshots` models and routes are kept for a start while their services are
    away."""
    transport = transport or HttpTransport(clock)
    local = LocalAdapter()
    openai = OpenAIAdapter(transport, reply_bytes=settings.reply_limit, event_bytes=settings.event_limit)
    adapters: dict[str, Adapter] = {"openai": openai, "local": local, "mock": MockAdapter()}
    builder = DeploymentBuilder(adapters, ProviderKeys(config_file, environment()))
    catalogue = Catalogue(Picker(clock, Random()), builder)
    # A key that changed in the file changes nothing in the catalogue.
    config_file.subscribe(lambda _: catalogue.rebuild())
    attempts = Attempts(catalogue, RetryBudget(clock))
    opening = Opening(
        catalogue, attempts, admission, journal, clock, sync_intents=settings.journal_sync == "always"
    )
    servicer = InferenceServicer(
        Generation(opening, attempts, admission), Embedding(opening, attempts), admission
    )
    follower = CatalogueFollower(catalogue, registry, routing, clock, snapshots)
    return InferenceApp(servicer, follower, transport, local)
