"""Public price and model data (genai-prices, bundled, no network). Imported on first use: it costs 0.3 s."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from headgate_settings.config import PriceConfig

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

# Parts of ids that our adapters cannot call with chat or embedding requests, and fine-tuning bases.
_NOT_CALLABLE = (
    "ft:", ".ft-", "image", "audio", "realtime", "transcribe", "tts", "whisper", "live", "search", "instruct",
    "deep-research", "-pro", "codex", "computer", "oss", ":extended", "vision-preview",
)  # fmt: skip


@lru_cache(maxsize=10_000)
def price_of(provider_name: str, base_url: str, upstream_id: str, now_ms: int) -> PriceConfig | None:
    """The list price of a provider's model at `now_ms` (Unix milliseconds), or None when it is not in the data.

    The provider is known by its address, else by its name. Prices that rise with the length of the prompt count
    as their first step.
    """
    provider = _provider(provider_name, base_url)
    if provider is None:
        return None
    model = provider.find_model(upstream_id, all_providers=_snapshot().providers)
    return None if model is None else _price(model, now_ms)


def known_models(provider_name: str, base_url: str) -> Iterator[tuple[str, int]]:
    """Ids and context lengths (tokens) of the provider's current chat and embedding models."""
    provider = _provider(provider_name, base_url)
    for model in provider.models if provider is not None else ():
        callable_ = not any(part in model.id for part in _NOT_CALLABLE)
        if callable_ and model.context_window and not model.deprecated:
            yield model.id, model.context_window


@cache
def _snapshot() -> "DataSnapshot":
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 -- see the docstring

    return get_snapshot()


def _provider(name: str, base_url: str) -> "Provider | None":
    for id, url in ((None, base_url or None), (name, None)):
        if id or url:
            try:
                return _snapshot().find_provider(None, id, url)
            except LookupError:
                continue
    return None


def _price(model: "ModelInfo", now_ms: int) -> PriceConfig | None:
    figures = model.get_prices(datetime.fromtimestamp(now_ms / 1000, UTC)).__dict__
    read, written = _per_million(figures.get("input_mtok")), _per_million(figures.get("output_mtok"))
    if read is None:
        return None
    per_thousand = _per_million(figures.get("requests_kcount"))
    return PriceConfig(
        input_pico_usd=_pico(read),
        output_pico_usd=_pico(written or Decimal(0)),
        cached_input_pico_usd=None
        if (cached := _per_million(figures.get("cache_read_mtok"))) is None
        else _pico(cached),
        request_pico_usd=_pico((per_thousand or Decimal(0)) * 1000),
    )


def _per_million(figure: object) -> Decimal | None:
    base = getattr(figure, "base", figure)
    return base if isinstance(base, Decimal) else None


def _pico(usd_per_million: Decimal) -> int:
    return int((usd_per_million * 10**6).to_integral_value(ROUND_HALF_EVEN))
