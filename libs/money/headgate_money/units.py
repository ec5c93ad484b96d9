"""Between what people write (USD) and what is counted (pico-USD per unit, nano-USD)."""

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

_TEXT_LIMIT = 40
# 1 USD per token and 1,000 USD per call: beyond them a figure is a slip, and below them no row of up to
# 2^31 tokens leaves int64.
_MOST_PER_TOKEN = 10**12
_MOST_PER_CALL = 10**15
# Exact or nothing: a price that is silently rounded makes every later amount wrong.
_EXACT = Context(prec=2 * _TEXT_LIMIT, traps=[Inexact, InvalidOperation, Overflow])


def parse_usd_per_million(figure: str | int | float | Decimal) -> int:
    """Pico-USD per token from USD per million tokens (`0.15` is 150,000). Raises ValueError for what is not a
    number, is negative or absurd, or is finer than a pico-USD."""
    return _scaled(figure, 6, _MOST_PER_TOKEN, "USD per million")


def parse_usd_per_call(figure: str | int | float | Decimal) -> int:
    """Pico-USD per call from USD per call. Raises ValueError like `parse_usd_per_million`."""
    return _scaled(figure, 12, _MOST_PER_CALL, "USD per call")


def _scaled(figure: str | int | float | Decimal, digits: int, most: int, unit: str) -> int:
    text = str(figure).strip()
    if isinstance(figure, bool) or not text or len(text) > _TEXT_LIMIT or "_" in text:
        raise ValueError(f"{text[:_TEXT_LIMIT]!r} is not an amount in {unit}")
    try:
        amount = _EXACT.create_decimal(text)
    except (InvalidOperation, Inexact, Overflow):
        raise ValueError(f"{text!r} is not an amount in {unit}") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{text!r} is not an amount in {unit}")
    if amount > Decimal(most).scaleb(-digits):
        raise ValueError(f"{text!r} is more than any price in {unit}")
    return _whole(_EXACT.scaleb(amount, digits), text)


def _whole(amount: Decimal, text: str) -> int:
    if amount != amount.to_integral_value():
        raise ValueError(f"{text!r} is finer than a pico-USD per unit")
    return int(amount)


def round_to_nano(pico_usd: int) -> int:
    """Nano-USD of an amount in pico-USD, half to even."""
    return _thousandth(pico_usd)


def usd(nano_usd: int) -> float:
    """USD with six decimals, half to even: the form of every amount in JSON (COST-6)."""
    return _thousandth(nano_usd) / 1_000_000


def _thousandth(amount: int) -> int:
    quotient, rest = divmod(amount, 1000)
    if rest > 500 or (rest == 500 and quotient & 1):
        return quotient + 1
    return quotient
