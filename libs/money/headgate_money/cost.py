"""What a call costs. Works on the generated messages: it runs twice in every request, and copying them into
dataclasses would cost more than the arithmetic."""

from headgate.metering.v1.metering_pb2 import Quantities
from headgate.registry.v1.registry_pb2 import Model, Price
from headgate_money.units import round_to_nano

# PLAN-10: 0.002 USD per 1,000 tokens of either kind for a model without a price.
FLAT = Price(version="flat", input_pico_usd=2_000_000, output_pico_usd=2_000_000)


def price_of(model: Model) -> Price:
    """The model's own price, or the flat one."""
    return model.price if model.HasField("price") else FLAT


def cost_nano_usd(price: Price, quantities: Quantities) -> int:
    """Nano-USD of one call, rounded once, half to even. Never negative: figures below zero count as zero, and
    no more tokens count as cached than were read."""
    read = max(quantities.input_tokens, 0)
    cached = min(max(quantities.cached_input_tokens, 0), read)
    written = max(quantities.output_tokens, 0)
    pico_usd = (
        (read - cached) * price.input_pico_usd + written * price.output_pico_usd + price.request_pico_usd
    )
    if cached:
        pico_usd += cached * _cached_pico_usd(price)
    return round_to_nano(pico_usd)


def worst_case_nano_usd(price: Price, prompt_bytes: int, max_output_tokens: int) -> int:
    """The most a call can cost, nano-USD: no tokenizer makes more tokens than bytes. Rounding keeps order, so
    the real cost of any fewer tokens is never above it."""
    dearest_input = max(price.input_pico_usd, _cached_pico_usd(price))
    return round_to_nano(
        prompt_bytes * dearest_input + max_output_tokens * price.output_pico_usd + price.request_pico_usd
    )


def _cached_pico_usd(price: Price) -> int:
    return price.cached_input_pico_usd if price.HasField("cached_input_pico_usd") else price.input_pico_usd
