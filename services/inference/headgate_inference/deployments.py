"""The catalogue as the request path needs it: everything that can be computed when the catalogue changes is
computed then, and a call only looks it up."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from headgate.metering.v1.metering_pb2 import UsageEvent
from headgate.registry.v1 import registry_pb2
from headgate_inference.adapters.base import Adapter, Model, Timers
from headgate_inference.adapters.openai import target
from headgate_inference.adapters.transport import Target
from headgate_money import Rates, price_of
from headgate_settings import Secret
from headgate_telemetry.logs import get_logger

log = get_logger()

CredentialOf = Callable[[str], Secret]
"""The API key a `credential_ref` stands for; an empty secret when it is not there."""

_TIMERS = {"connect": 3.0, "first_token": 30.0, "idle": 20.0, "total": 600.0}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place where a model runs, ready to be called. The targets are None where nothing goes over a network;
    `address` is the provider's host; `intent` is what the intents of all its calls have in common."""

    id: str
    model: Model
    provider: str
    upstream_id: str
    adapter: Adapter
    timers: Timers
    chat: Target | None
    embeddings: Target | None
    address: str
    metadata: Mapping[str, str]
    intent: UsageEvent


class Deployments:
    """All deployments by candidate id, and all models by id. Does not change."""

    __slots__ = ("by_id", "models")

    def __init__(self, by_id: Mapping[str, Deployment], models: Mapping[str, Model]) -> None:
        self.by_id = by_id
        self.models = models


class DeploymentBuilder:
    """Turns catalogue items into deployments. `adapters` are by provider type."""

    def __init__(self, adapters: Mapping[str, Adapter], credential_of: CredentialOf) -> None:
        self._adapters = adapters
        self._credential_of = credential_of

    def build(self, items: Iterable[registry_pb2.CatalogueItem]) -> Deployments:
        """All deployments that can be called; one that cannot is logged and left out."""
        kinds: dict[str, list[registry_pb2.CatalogueItem]] = {}
        for item in items:
            kinds.setdefault(item.WhichOneof("item") or "", []).append(item)
        providers = {item.provider.name: item.provider for item in kinds.get("provider", ())}
        models = [item.model for item in kinds.get("model", ())]
        known = {model.id: _model(model) for model in models}
        found = (
            self._deployment(known[model.id], deployment, providers.get(deployment.provider))
            for model in models
            for deployment in model.deployments
        )
        return Deployments({each.id: each for each in found if each is not None}, known)

    def _deployment(
        self, model: Model, deployment: registry_pb2.Deployment, provider: registry_pb2.Provider | None
    ) -> Deployment | None:
        adapter = None if provider is None else self._adapters.get(provider.type)
        if provider is None or adapter is None:
            log.warning("deployment without adapter", model=model.id, provider=deployment.provider)
            return None
        timers = _timers(provider.timeouts)
        try:
            chat, embeddings = self._targets(provider, timers)
        except ValueError:
            log.warning("provider without usable base_url or key", provider=provider.name)
            return None
        return Deployment(
            id=f"{model.id}@{provider.name}/{deployment.upstream_id}",
            model=model,
            provider=provider.name,
            upstream_id=deployment.upstream_id,
            adapter=adapter,
            timers=timers,
            chat=chat,
            embeddings=embeddings,
            address="" if chat is None else chat.url.host or "",
            metadata=_metadata(model, provider, deployment),
            intent=UsageEvent(model=model.id, provider=provider.name, price=model.price),
        )

    def _targets(
        self, provider: registry_pb2.Provider, timers: Timers
    ) -> tuple[Target, Target] | tuple[None, None]:
        if not provider.base_url:
            return None, None
        key = self._credential_of(provider.credential_ref).reveal() if provider.credential_ref else ""
        return (
            target(provider.base_url, "chat/completions", key, timers.connect),
            target(provider.base_url, "embeddings", key, timers.connect),
        )


def _model(model: registry_pb2.Model) -> Model:
    price = price_of(model)
    return Model(
        id=model.id,
        is_embedding=model.type == registry_pb2.MODEL_TYPE_EMBEDDING,
        dimensions=model.dimensions,
        max_output=model.max_output,
        drop_params=model.drop_params,
        ignored_params=frozenset(model.ignored_params),
        price=price,
        rates=Rates.of(price),
    )


def _metadata(
    model: Model, provider: registry_pb2.Provider, deployment: registry_pb2.Deployment
) -> Mapping[str, str]:
    metadata = {"x-model-provider": provider.name, "x-model-id": model.id, "x-cache": "BYPASS"}
    if provider.type == "local" and deployment.upstream_id == "local-extractive":
        metadata["x-headgate-extractive"] = "true"
    return metadata


def _timers(timeouts: registry_pb2.Timeouts) -> Timers:
    def seconds(name: str, milliseconds: int) -> float:
        return milliseconds / 1000 if milliseconds > 0 else _TIMERS[name]

    return Timers(
        connect=seconds("connect", timeouts.connect_ms),
        first_token=seconds("first_token", timeouts.first_token_ms),
        idle=seconds("idle", timeouts.idle_ms),
        total=seconds("total", timeouts.total_ms),
    )
