"""A store that does not answer is left alone, and found again."""

import pytest

from headgate_metering.breaker import FAILING_S, FAILURES, PAUSE_S, Breaker
from headgate_testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, times: int = FAILURES) -> None:
    for _ in range(times):
        assert breaker.allows()
        breaker.failed()


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    breaker.succeeded()
    fail(breaker, FAILURES - 1)
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()


def test_it_opens_when_failures_have_gone_on_for_a_second(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker, 1)
    clock.advance(FAILING_S)
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()


def test_one_call_tries_after_each_pause(breaker: Breaker, clock: FakeClock) -> None:
    fail(breaker)
    for _ in range(3):
        clock.advance(PAUSE_S)
        assert [breaker.allows() for _ in range(3)] == [True, False, False]
        breaker.failed()
    clock.advance(PAUSE_S)
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]
