"""`headgate check`: is the configuration file good, and what does it say?"""

from pathlib import Path

from headgate_clock import SystemClock
from headgate_hosting.settings import ProcessSettings
from headgate_metering.policies import effective_policies
from headgate_registry.app import build as build_registry
from headgate_registry.settings import RegistrySettings
from headgate_settings import environment, load
from headgate_settings.config import Config, ConfigError, ConfigFile


def check_config(path: Path | None) -> str:
    """What is in the file. Raises ConfigError with every problem, each with its line; SettingsError."""
    environ = environment()
    wanted = path or load(ProcessSettings, environ).config
    if path is not None and not path.exists():
        raise ConfigError([f"{path}: no such file"])
    file = ConfigFile(wanted, environ)
    config = file.read()
    build_registry(load(RegistrySettings, environ), file, SystemClock())
    effective_policies(config)
    return _summary(wanted, config)


def _summary(path: Path, config: Config) -> str:
    if not path.exists():
        return f"{path} does not exist; everything has its default."
    counts = {
        "providers": [provider.name for provider in config.providers],
        "models": [model.id for model in config.models],
        "aliases": [alias.name for alias in config.aliases],
        "policies": [policy.name for policy in config.policies],
    }
    lines = [f"  {kind}: {', '.join(names)}" for kind, names in counts.items() if names]
    return "\n".join([f"{path} is good.", *lines])
