"""Prices are read exactly or refused; amounts are shown with six decimals."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate_money import parse_usd_per_call, parse_usd_per_million, round_to_nano, usd


@pytest.mark.parametrize(
    ("figure", "pico"),
    [
        ("0.15", 150_000),
        (0.15, 150_000),
        (0.1 + 0.0, 100_000),
        (3, 3_000_000),
        ("0", 0),
        (" 2.50 ", 2_500_000),
        ("1e-6", 1),
        (Decimal("0.075"), 75_000),
        (1e6, 10**12),
    ],
)
def test_usd_per_million_tokens_is_pico_usd_per_token(figure: str | float, pico: int) -> None:
    assert parse_usd_per_million(figure) == pico


@pytest.mark.parametrize(
    "figure",
    ["", "free", "-1", "nan", "inf", "Infinity", "sNaN", "1e-7", "1_0", "1,5", True, "1000001", "9" * 50, "1e400", -0.1,
     "1e999999999999"],
)  # fmt: skip
def test_what_is_no_exact_price_is_refused(figure: str | float) -> None:
    with pytest.raises(ValueError):
        parse_usd_per_million(figure)


def test_usd_per_call_is_pico_usd() -> None:
    assert parse_usd_per_call("0.002") == 2_000_000_000
    with pytest.raises(ValueError, match="more than"):
        parse_usd_per_call("1001")


@given(st.integers(0, 10**12))
def test_every_price_survives_being_written_in_usd(pico: int) -> None:
    assert parse_usd_per_million(str(Decimal(pico) / 10**6)) == pico


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, 0.0),
        (499, 0.0),
        (500, 0.0),
        (1500, 0.000002),
        (2500, 0.000002),
        (1_234_567_890, 1.234568),
        (-1500, -0.000002),
    ],
)
def test_amounts_are_shown_with_six_decimals_half_to_even(nano: int, shown: float) -> None:
    assert usd(nano) == shown


@given(st.integers(-(10**18), 10**18))
def test_rounding_is_symmetric_and_off_by_at_most_half(pico: int) -> None:
    assert round_to_nano(pico) == -round_to_nano(-pico)
    assert abs(round_to_nano(pico) * 1000 - pico) <= 500
