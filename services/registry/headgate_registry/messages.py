"""The catalogue as the messages that others watch, with the price of each model."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from headgate.registry.v1 import registry_pb2
from headgate_registry.catalogue import Catalogue
from headgate_registry.entries import Source
from headgate_settings.config import AliasConfig, ModelConfig, PriceConfig, ProviderConfig

_TYPES = {
    "text": registry_pb2.MODEL_TYPE_TEXT,
    "embedding": registry_pb2.MODEL_TYPE_EMBEDDING,
    "image": registry_pb2.MODEL_TYPE_IMAGE,
    "audio": registry_pb2.MODEL_TYPE_AUDIO,
}
_CAPABILITIES = {"text": ("chat",), "embedding": ("embedding",), "image": ("image",), "audio": ("audio",)}

ListPrice = Callable[[str, str, str, int], PriceConfig | None]
"""Provider name, base URL, upstream id, Unix milliseconds -> list price or None."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns a catalogue into items. `created`, seconds since the Unix epoch, is shown for every model and is the
    day of the list prices: they change with a restart only."""

    created: int
    list_price: ListPrice

    def items(self, catalogue: Catalogue) -> dict[str, registry_pb2.CatalogueItem]:
        """Every item by its key: `provider/<name>`, `model/<id>`, `alias/<name>`."""
        items: dict[str, registry_pb2.CatalogueItem] = {}
        for provider, source in catalogue.providers.values():
            message = _provider(provider, source)
            items[f"provider/{provider.name}"] = registry_pb2.CatalogueItem(provider=message)
        for model, source in catalogue.models.values():
            price = model.price or self._list_price(model, catalogue)
            items[f"model/{model.id}"] = registry_pb2.CatalogueItem(
                model=_model(model, source, price, self.created)
            )
        for alias in catalogue.aliases.values():
            items[f"alias/{alias.name}"] = registry_pb2.CatalogueItem(alias=_alias(alias))
        return items

    def _list_price(self, model: ModelConfig, catalogue: Catalogue) -> PriceConfig | None:
        deployment = model.deployments[0]
        provider, source = catalogue.providers[deployment.provider]
        if provider.type != "openai" or source is Source.DISCOVERED:
            return None
        return self.list_price(provider.name, provider.base_url, deployment.upstream_id, self.created * 1000)


def price_message(price: PriceConfig) -> registry_pb2.Price:
    """The price; its version names the figures, so equal figures have equal versions everywhere."""
    figures = (
        price.input_pico_usd,
        price.output_pico_usd,
        price.cached_input_pico_usd,
        price.request_pico_usd,
    )
    version = hashlib.sha256(repr(figures).encode()).hexdigest()[:12]
    return registry_pb2.Price(
        version=version,
        input_pico_usd=price.input_pico_usd,
        output_pico_usd=price.output_pico_usd,
        cached_input_pico_usd=price.cached_input_pico_usd,
        request_pico_usd=price.request_pico_usd,
    )


def _provider(provider: ProviderConfig, source: Source) -> registry_pb2.Provider:
    timers = provider.timeouts
    return registry_pb2.Provider(
        name=provider.name,
        type=provider.type,
        base_url=provider.base_url,
        credential_ref=_credential_ref(provider, source),
        timeouts=registry_pb2.Timeouts(
            connect_ms=_ms(timers.connect),
            first_token_ms=_ms(timers.first_token),
            idle_ms=_ms(timers.idle),
            total_ms=_ms(timers.total),
        ),
        source=source,
        options_json=provider.options_json.encode(),
    )


def _credential_ref(provider: ProviderConfig, source: Source) -> str:
    if not provider.api_key:
        return ""
    return "env:OPENAI_API_KEY" if source is Source.ENVIRONMENT else f"file:providers.{provider.name}"


def _ms(seconds: float | None) -> int:
    return 0 if seconds is None else max(round(seconds * 1000), 1)


def _model(model: ModelConfig, source: Source, price: PriceConfig | None, created: int) -> registry_pb2.Model:
    return registry_pb2.Model(
        id=model.id,
        type=_TYPES[model.type],
        capabilities=model.capabilities or _CAPABILITIES[model.type],
        context_length=model.context_length,
        max_output=model.max_output,
        dimensions=model.dimensions,
        deployments=[
            registry_pb2.Deployment(
                id=f"{each.provider}/{each.upstream_id}",
                provider=each.provider,
                upstream_id=each.upstream_id,
                weight=each.weight,
            )
            for each in model.deployments
        ],
        price=None if price is None else price_message(price),
        owned_by=model.owned_by or model.deployments[0].provider,
        created=created,
        description=model.description,
        drop_params=model.drop_params,
        ignored_params=model.ignored_params,
        source=source,
    )


def _alias(alias: AliasConfig) -> registry_pb2.Alias:
    targets = [registry_pb2.AliasTarget(model=each.model, weight=each.weight) for each in alias.targets]
    return registry_pb2.Alias(name=alias.name, targets=targets)
