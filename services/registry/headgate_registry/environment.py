"""Providers whose keys stand in the environment."""

import logging

from headgate_registry import price_data
from headgate_registry.entries import Entries, Source
from headgate_registry.settings import RegistrySettings
from headgate_settings import SettingsError
from headgate_settings.config import DeploymentConfig, ModelConfig, ProviderConfig, is_base_url

_log = logging.getLogger(__name__)

_OPENAI = "openai"


def entries_of_environment(settings: RegistrySettings) -> Entries:
    """The OpenAI provider with its well-known models, when its key is set. Logs one line for each key that has
    no adapter yet. Raises SettingsError."""
    for name, key in (
        ("ANTHROPIC_API_KEY", settings.anthropic_api_key),
        ("GEMINI_API_KEY", settings.gemini_api_key),
    ):
        if key:
            _log.warning("%s is set but not used: there is no adapter for it yet", name)
    if not settings.openai_api_key:
        return Entries(Source.ENVIRONMENT)
    base_url = settings.openai_base_url.rstrip("/")
    if not is_base_url(base_url):
        raise SettingsError([f"OPENAI_BASE_URL: '{base_url}' is not like https://host/v1"])
    provider = ProviderConfig(_OPENAI, "openai", base_url, settings.openai_api_key)
    known = price_data.known_models(_OPENAI, base_url)
    return Entries(Source.ENVIRONMENT, (provider,), tuple(_model(id, length) for id, length in known))


def _model(id: str, context_length: int) -> ModelConfig:
    embedding = "embedding" in id
    return ModelConfig(
        id=id,
        deployments=(DeploymentConfig(_OPENAI, id),),
        type="embedding" if embedding else "text",
        capabilities=("embedding",) if embedding else ("chat", "tools", "json"),
        context_length=context_length,
    )
