"""A call costs exactly tokens times price, rounded once, half to even."""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.metering.v1.metering_pb2 import Quantities
from headgate.registry.v1.registry_pb2 import Model, Price
from headgate_money import FLAT, cost_nano_usd, price_of, worst_case_nano_usd

tokens = st.integers(0, 10**9)
prices = st.integers(0, 10**9)


def test_twelve_tokens_of_a_cheap_model_do_not_vanish() -> None:
    assert cost_nano_usd(Price(input_pico_usd=20_000), Quantities(input_tokens=12)) == 240


def test_cached_tokens_cost_the_cached_price() -> None:
    price = Price(input_pico_usd=1000_000, cached_input_pico_usd=100_000, output_pico_usd=2000_000)
    quantities = Quantities(input_tokens=100, cached_input_tokens=40, output_tokens=10)
    assert cost_nano_usd(price, quantities) == 60 * 1000 + 40 * 100 + 10 * 2000


def test_cached_price_of_zero_is_free_and_absent_is_the_input_price() -> None:
    quantities = Quantities(input_tokens=100, cached_input_tokens=100)
    assert cost_nano_usd(Price(input_pico_usd=1000, cached_input_pico_usd=0), quantities) == 0
    assert cost_nano_usd(Price(input_pico_usd=1000), quantities) == 100


def test_a_price_per_call_is_added_once() -> None:
    assert cost_nano_usd(Price(request_pico_usd=5_000_000), Quantities(output_tokens=7)) == 5000


@pytest.mark.parametrize(("pico", "nano"), [(499, 0), (500, 0), (501, 1), (1500, 2), (2500, 2), (2501, 3)])
def test_rounds_half_to_even(pico: int, nano: int) -> None:
    assert cost_nano_usd(Price(input_pico_usd=pico), Quantities(input_tokens=1)) == nano


def test_a_model_without_price_costs_the_flat_rate() -> None:
    assert price_of(Model(id="m")) is FLAT
    assert cost_nano_usd(FLAT, Quantities(input_tokens=600, output_tokens=400)) == 2_000_000  # 0.002 USD


def test_a_model_priced_at_zero_is_free() -> None:
    model = Model(id="m", price=Price(version="free"))
    assert cost_nano_usd(price_of(model), Quantities(input_tokens=600)) == 0


def test_absurd_quantities_never_make_a_credit() -> None:
    price = Price(input_pico_usd=1000_000, cached_input_pico_usd=0, output_pico_usd=1000_000)
    assert cost_nano_usd(price, Quantities(input_tokens=-5, output_tokens=-5)) == 0
    assert cost_nano_usd(price, Quantities(input_tokens=1, cached_input_tokens=100)) == 0
    assert cost_nano_usd(price, Quantities(input_tokens=1, cached_input_tokens=-100)) == 1000


@given(tokens, tokens, tokens, prices, prices, prices, prices)
def test_agrees_with_decimal_arithmetic(
    read: int, cached: int, written: int, input_: int, cached_: int, output: int, request: int
) -> None:
    cached = min(cached, read)
    price = Price(
        input_pico_usd=input_, cached_input_pico_usd=cached_, output_pico_usd=output, request_pico_usd=request
    )
    quantities = Quantities(input_tokens=read, cached_input_tokens=cached, output_tokens=written)
    pico = Decimal(read - cached) * input_ + Decimal(cached) * cached_ + Decimal(written) * output + request
    assert cost_nano_usd(price, quantities) == int((pico / 1000).quantize(Decimal(1), ROUND_HALF_EVEN))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_no_call_costs_more_than_its_worst_case(prompt_bytes: int, cap: int, data: st.DataObject) -> None:
    price = Price(
        input_pico_usd=data.draw(prices),
        cached_input_pico_usd=data.draw(prices),
        output_pico_usd=data.draw(prices),
    )
    read = data.draw(st.integers(0, prompt_bytes))
    quantities = Quantities(
        input_tokens=read,
        cached_input_tokens=data.draw(st.integers(0, read)),
        output_tokens=data.draw(st.integers(0, cap)),
    )
    assert cost_nano_usd(price, quantities) <= worst_case_nano_usd(price, prompt_bytes, cap)
