"""Money as integers: prices in pico-USD per unit, amounts in nano-USD, rounded once per row, half to even."""

from headgate_money.cost import FLAT, Rates, TokenCounts, cost_nano_usd, price_of, worst_case_nano_usd
from headgate_money.units import parse_usd_per_call, parse_usd_per_million, round_to_nano, usd

__all__ = [
    "FLAT",
    "Rates",
    "TokenCounts",
    "cost_nano_usd",
    "parse_usd_per_call",
    "parse_usd_per_million",
    "price_of",
    "round_to_nano",
    "usd",
    "worst_case_nano_usd",
]
