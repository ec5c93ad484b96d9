"""The `providers:` section."""

import re
from urllib.parse import urlsplit

from headgate_settings.config.schema import PROVIDER_TYPES, ProviderConfig, TimeoutsConfig
from headgate_settings.config.section import Section
from headgate_settings.secret import Secret

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Only the provider that is called so: guessing it for another one would send its key to a stranger.
_OPENAI = "https://api.openai.com/v1"


def read_providers(root: Section) -> tuple[ProviderConfig, ...]:
    """Every provider of the file."""
    return tuple(_read_provider(section) for section in root.sections("providers"))


def _read_provider(section: Section) -> ProviderConfig:
    name = section.required("name")
    if name and not _NAME.fullmatch(name):
        section.problem(f"name: '{name}' may hold letters, digits and ._- only, at most 64", "name")
    section.required("type")
    kind = section.choice("type", PROVIDER_TYPES)
    provider = ProviderConfig(
        name=name,
        type=kind,
        base_url=_base_url(section, name, kind),
        api_key=Secret(section.text("api_key")),
        timeouts=_timeouts(section),
        options_json=section.document("options"),
        line=section.line,
    )
    section.close()
    return provider


def _base_url(section: Section, name: str, kind: str) -> str:
    url = section.text("base_url").rstrip("/")
    if kind != "openai":
        if section.has("base_url"):
            section.problem(f"base_url: a provider of the type '{kind}' has none", "base_url")
        return ""
    if not section.has("base_url"):
        if name != "openai":
            section.problem("'base_url' is missing")
        return _OPENAI
    if url and not is_base_url(url):
        section.problem("base_url: must be like https://host/v1, without user name or query", "base_url")
    return url


def is_base_url(url: str) -> bool:
    """Whether a text is an http(s) URL that paths can be added to."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return well_formed and "@" not in parts.netloc and not (parts.query or parts.fragment)


def _timeouts(section: Section) -> TimeoutsConfig:
    timers = section.section("timeout")
    if timers is None:
        return TimeoutsConfig()
    timeouts = TimeoutsConfig(
        connect=timers.duration("connect"),
        first_token=timers.duration("first_token"),
        idle=timers.duration("idle"),
        total=timers.duration("total"),
    )
    timers.close()
    return timeouts
