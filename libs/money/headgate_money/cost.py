"""What a call costs. Rates and counts are tuples: each is read several times in every call, and reading a field of
a message takes longer than the arithmetic."""

from typing import NamedTuple

from headgate.metering.v1.metering_pb2 import Quantities
from headgate.registry.v1.registry_pb2 import Model, Price
from headgate_money.units import round_to_nano

# PLAN-10: 0.002 USD per 1,000 tokens of either kind for a model without a price.
FLAT = Price(version="flat", input_pico_usd=2_000_000, output_pico_usd=2_000_000)


def price_of(model: Model) -> Price:
    """The model's own price, or the flat one."""
    return model.price if model.HasField("price") else FLAT


class TokenCounts(NamedTuple):
    """What a call consumed, with the names of headgate.metering.v1.Quantities."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


class Rates(NamedTuple):
    """A price as figures, pico-USD per token and per call."""

    input: int
    cached_input: int
    output: int
    request: int

    @classmethod
    def of(cls, price: Price) -> "Rates":
        """The rates of a price; without one of their own, cached tokens cost what others do."""
        own = price.HasField("cached_input_pico_usd")
        return cls(
            input=price.input_pico_usd,
            cached_input=price.cached_input_pico_usd if own else price.input_pico_usd,
            output=price.output_pico_usd,
            request=price.request_pico_usd,
        )

    def cost_nano_usd(self, counts: TokenCounts | Quantities) -> int:
        """Nano-USD of one call, rounded once, half to even. Never negative: figures below zero count as zero, and
        no more tokens count as cached than were read."""
        read = max(counts.input_tokens, 0)
        cached = min(max(counts.cached_input_tokens, 0), read)
        written = max(counts.output_tokens, 0)
        return round_to_nano(
            (read - cached) * self.input + cached * self.cached_input + written * self.output + self.request
        )

    def worst_case_nano_usd(self, prompt_bytes: int, max_output_tokens: int) -> int:
        """The most a call can cost, nano-USD: no tokenizer makes more tokens than bytes. Rounding keeps order, so
        the real cost of any fewer tokens is never above it."""
        dearest_input = max(self.input, self.cached_input)
        return round_to_nano(prompt_bytes * dearest_input + max_output_tokens * self.output + self.request)


def cost_nano_usd(price: Price, counts: TokenCounts | Quantities) -> int:
    """`Rates.cost_nano_usd` at a price."""
    return Rates.of(price).cost_nano_usd(counts)


def worst_case_nano_usd(price: Price, prompt_bytes: int, max_output_tokens: int) -> int:
    """`Rates.worst_case_nano_usd` at a price."""
    return Rates.of(price).worst_case_nano_usd(prompt_bytes, max_output_tokens)
