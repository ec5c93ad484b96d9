"""`headgate.yaml` to frozen dataclasses (schema.py), with file and line for every problem."""

from headgate_settings.config.file import ConfigFile
from headgate_settings.config.problems import ConfigError, Problems
from headgate_settings.config.providers import is_base_url
from headgate_settings.config.reader import parse_config
from headgate_settings.config.schema import (
    AliasConfig,
    AliasTargetConfig,
    Config,
    DeploymentConfig,
    FallbackConfig,
    LimitConfig,
    ModelConfig,
    NetworkConfig,
    PolicyConfig,
    PriceConfig,
    ProviderConfig,
    RoutingConfig,
    TimeoutsConfig,
)

__all__ = [
    "AliasConfig",
    "AliasTargetConfig",
    "Config",
    "ConfigError",
    "ConfigFile",
    "DeploymentConfig",
    "FallbackConfig",
    "LimitConfig",
    "ModelConfig",
    "NetworkConfig",
    "PolicyConfig",
    "PriceConfig",
    "Problems",
    "ProviderConfig",
    "RoutingConfig",
    "TimeoutsConfig",
    "is_base_url",
    "parse_config",
]
