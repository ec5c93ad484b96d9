"""All sources merged into one catalogue: on equal names the higher source wins."""

from collections.abc import Iterable
from dataclasses import dataclass

from headgate_registry.entries import Entries, Source
from headgate_settings.config import AliasConfig, ModelConfig, ProviderConfig


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Providers, models and aliases by name, each provider and model with its source."""

    providers: dict[str, tuple[ProviderConfig, Source]]
    models: dict[str, tuple[ModelConfig, Source]]
    aliases: dict[str, AliasConfig]


def merge(sources: Iterable[Entries]) -> Catalogue:
    """The catalogue of `sources`, given highest first.

    A provider that a higher source names too is hidden with all its models: they were meant for another address.
    A name that is an alias in a higher source hides the model of that name. An alias without a target that is
    there is left out.
    """
    providers: dict[str, tuple[ProviderConfig, Source]] = {}
    models: dict[str, tuple[ModelConfig, Source]] = {}
    aliases: dict[str, AliasConfig] = {}
    for entries in sources:
        hidden = {each.name for each in entries.providers if each.name in providers}
        for provider in entries.providers:
            providers.setdefault(provider.name, (provider, entries.source))
        for model in entries.models:
            if model.id not in aliases and not _deployed_on(model, hidden):
                models.setdefault(model.id, (model, entries.source))
        for alias in entries.aliases:
            if alias.name not in models:
                aliases.setdefault(alias.name, alias)
    resolved = ((name, _resolved(alias, models)) for name, alias in aliases.items())
    return Catalogue(providers, models, {name: alias for name, alias in resolved if alias.targets})


def _deployed_on(model: ModelConfig, names: set[str]) -> bool:
    return any(deployment.provider in names for deployment in model.deployments)


def _resolved(alias: AliasConfig, models: dict[str, tuple[ModelConfig, Source]]) -> AliasConfig:
    return AliasConfig(alias.name, tuple(each for each in alias.targets if each.model in models), alias.line)
