"""The `models:` section."""

import re

from headgate_money.units import parse_usd_per_call, parse_usd_per_million
from headgate_settings.config.schema import MODEL_TYPES, DeploymentConfig, ModelConfig, PriceConfig
from headgate_settings.config.section import Section

# `@` is kept for pinning a version, `,` for lists.
_ID = re.compile(r"[^\s@,]{1,256}")
_MOST_TOKENS = 10**9
MOST_WEIGHT = 10_000


def read_models(root: Section) -> tuple[ModelConfig, ...]:
    """Every model of the file."""
    return tuple(_read_model(section) for section in root.sections("models"))


def check_id(section: Section, text: str, key: str) -> None:
    """Report a model id or alias that clients could not name."""
    if text and not _ID.fullmatch(text):
        section.problem(f"{key}: '{text}' may not hold spaces, '@' or ',', nor more than 256 characters", key)


def _read_model(section: Section) -> ModelConfig:
    id = section.required("id")
    check_id(section, id, "id")
    model = ModelConfig(
        id=id,
        deployments=_deployments(section, id),
        type=section.choice("type", MODEL_TYPES, "text"),
        capabilities=section.texts("capabilities"),
        context_length=section.integer("context_length", least=1, most=_MOST_TOKENS) or 0,
        max_output=section.integer("max_output", least=1, most=_MOST_TOKENS) or 0,
        dimensions=section.integer("dimensions", least=1, most=100_000) or 0,
        price=_price(section),
        owned_by=section.text("owned_by"),
        description=section.text("description"),
        drop_params=section.switch("drop_params", default=False),
        ignored_params=section.texts("ignored_params"),
        line=section.line,
    )
    section.close()
    return model


def _deployments(section: Section, model_id: str) -> tuple[DeploymentConfig, ...]:
    if not section.has("deployments"):
        provider = section.required("provider")
        upstream_id = section.text("upstream_id", model_id)
        return (DeploymentConfig(provider, upstream_id, line=section.line),)
    for key in ("provider", "upstream_id"):
        if section.has(key):
            section.problem(f"{key}: stands beside 'deployments'; name each provider there", key)
    deployments = tuple(_deployment(each, model_id) for each in section.sections("deployments"))
    if not deployments:
        section.problem("deployments: must not be empty", "deployments")
    return deployments


def _deployment(section: Section, model_id: str) -> DeploymentConfig:
    deployment = DeploymentConfig(
        provider=section.required("provider"),
        upstream_id=section.text("upstream_id", model_id),
        weight=section.integer("weight", least=1, most=MOST_WEIGHT) or 1,
        line=section.line,
    )
    section.close()
    return deployment


def _price(section: Section) -> PriceConfig | None:
    figures = section.section("price")
    if figures is None:
        return None
    if not any(figures.has(key) for key in ("input_per_1m", "output_per_1m", "per_request")):
        figures.problem("price: needs input_per_1m, output_per_1m or per_request; write 0 for free")
    price = PriceConfig(
        input_pico_usd=figures.figure("input_per_1m", parse_usd_per_million) or 0,
        output_pico_usd=figures.figure("output_per_1m", parse_usd_per_million) or 0,
        cached_input_pico_usd=figures.figure("cached_input_per_1m", parse_usd_per_million),
        request_pico_usd=figures.figure("per_request", parse_usd_per_call) or 0,
    )
    figures.close()
    return price
