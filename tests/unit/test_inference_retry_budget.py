"""Retries are a tenth of the last ten seconds' calls, or ten, whichever is more."""

from headgate_inference.retry_budget import RetryBudget
from headgate_testing.clock import FakeClock


def taken(budget: RetryBudget, wanted: int) -> int:
    return sum(budget.take() for _ in range(wanted))


def test_a_quiet_process_may_retry_ten_times() -> None:
    assert taken(RetryBudget(FakeClock()), 50) == 10


def test_a_busy_process_may_retry_a_tenth() -> None:
    budget = RetryBudget(FakeClock())
    for _ in range(1000):
        budget.called()
    assert taken(budget, 500) == 100


def test_what_is_older_than_ten_seconds_does_not_count() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock)
    for _ in range(1000):
        budget.called()
    assert taken(budget, 60) == 60
    clock.advance(9)
    assert taken(budget, 60) == 40
    clock.advance(1)
    assert taken(budget, 60) == 0
    clock.advance(9)
    assert taken(budget, 60) == 10


def test_steady_failure_stays_below_one_and_a_tenth_attempts_for_each_call() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock)
    calls = retries = 0
    for second in range(40):
        for _ in range(50):
            budget.called()
            got = taken(budget, 2)
            if second >= 10:
                calls += 1
                retries += got
        clock.advance(1)
    assert retries / calls <= 0.1
