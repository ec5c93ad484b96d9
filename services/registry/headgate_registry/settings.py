"""What can be set about the registry."""

from dataclasses import dataclass
from typing import Literal

from headgate_settings import Secret, setting


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Where models come from besides the configuration file."""

    discovery: Literal["on", "off"] = setting(
        env="HEADGATE_DISCOVERY",
        default="on",
        help="Whether to look for OpenAI-style model servers on this machine (ports 11434, 8080, 8000, 1234).",
    )
    openai_api_key: Secret = setting(
        env="OPENAI_API_KEY",
        default=Secret(),
        help="With it, OpenAI's models are there without configuration.",
    )
    openai_base_url: str = setting(
        env="OPENAI_BASE_URL",
        default="https://api.openai.com/v1",
        help="Where OPENAI_API_KEY is used, with the version path.",
    )
    anthropic_api_key: Secret = setting(
        env="ANTHROPIC_API_KEY", default=Secret(), help="Noted, not used yet: the adapter is not there."
    )
    gemini_api_key: Secret = setting(
        env="GEMINI_API_KEY", default=Secret(), help="Noted, not used yet: the adapter is not there."
    )
