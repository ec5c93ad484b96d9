"""What one source contributes to the catalogue. All sources speak the types of the configuration file."""

from dataclasses import dataclass
from enum import StrEnum

from headgate_settings.config import AliasConfig, Config, ModelConfig, ProviderConfig


class Source(StrEnum):
    """Where an entry comes from, highest precedence first."""

    FILE = "file"
    ENVIRONMENT = "environment"
    DISCOVERED = "discovered"
    BUILTIN = "builtin"


@dataclass(frozen=True, slots=True)
class Entries:
    """The providers, models and aliases of one source."""

    source: Source
    providers: tuple[ProviderConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    aliases: tuple[AliasConfig, ...] = ()


def entries_of_file(config: Config) -> Entries:
    """The contribution of `headgate.yaml`."""
    return Entries(Source.FILE, config.providers, config.models, config.aliases)
