"""Real holders against metering's own grants: limits hold over processes, and the waits it names are true."""

from collections.abc import Callable

import pytest

from headgate.metering.v1 import metering_pb2 as pb
from headgate_admission.built_in import BUILTIN_POLICIES
from headgate_leases.bucket import TokenBucket
from headgate_leases.holder import LeaseHolder
from headgate_metering.leasing import Leasing
from headgate_metering.policies import Limits
from headgate_metering.steady_time import SteadyTime
from headgate_metering.stores.memory_leases import MemoryLeaseStore
from headgate_metering.wire import grant_message, read_ask
from headgate_testing.clock import FakeClock

FREE = "requests/free/default/key_1"
FREE_TOKENS = "tokens/free/default/key_1"
PRO = "requests/pro/default/key_1"

MakeHolder = Callable[[str], LeaseHolder]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def holder(clock: FakeClock) -> MakeHolder:
    leasing = Leasing(MemoryLeaseStore(SteadyTime(clock)), Limits(BUILTIN_POLICIES.values()))

    async def acquire(request: pb.AcquireLeasesRequest) -> pb.AcquireLeasesResponse:
        grants = await leasing.acquire(request.holder_id, [read_ask(ask) for ask in request.asks])
        return pb.AcquireLeasesResponse(
            grants=[grant_message(grant, request.holder_id, clock.wall_ms()) for grant in grants]
        )

    return lambda name: LeaseHolder(name, acquire, clock)


def figures(per_minute: int) -> TokenBucket:
    return TokenBucket(per_minute, per_minute)


async def test_an_idle_key_gets_its_limit_at_once_then_a_true_wait(
    holder: MakeHolder, clock: FakeClock
) -> None:
    one = holder("a")
    for _ in range(3):
        for _ in range(10):
            assert await one.acquire(FREE, 1, figures(10)) is None
        refused = await one.acquire(FREE, 1, figures(10))
        assert refused is not None
        assert refused.known
        clock.advance(refused.retry_after_ms / 1000)
        assert await one.acquire(FREE, 1, figures(10)) is None
        clock.advance(66)  # a minute to be full again, and the last lease runs out
        one.sweep()


async def test_two_processes_share_one_limit_without_going_over_it(holder: MakeHolder) -> None:
    holders = [holder("a"), holder("b")]
    admitted = 0
    for n in range(1200):
        admitted += await holders[n % 2].acquire(PRO, 1, figures(500)) is None
    assert 490 <= admitted <= 500


async def test_a_call_refused_for_tokens_fits_after_the_wait_it_was_told(
    holder: MakeHolder, clock: FakeClock
) -> None:
    one = holder("a")
    assert await one.acquire(FREE_TOKENS, 9_900, figures(10_000)) is None
    refused = await one.acquire(FREE_TOKENS, 500, figures(10_000))
    assert refused is not None
    clock.advance(refused.retry_after_ms / 1000)
    assert await one.acquire(FREE_TOKENS, 500, figures(10_000)) is None


async def test_tokens_beyond_the_estimate_are_paid_off(holder: MakeHolder, clock: FakeClock) -> None:
    one = holder("a")
    assert await one.acquire(FREE_TOKENS, 300, figures(10_000)) is None
    one.adjust(FREE_TOKENS, 14_700)  # 5,000 over the whole limit
    refused = await one.acquire(FREE_TOKENS, 100, figures(10_000))
    assert refused is not None
    assert 29_000 <= refused.retry_after_ms <= 31_500
    clock.advance(refused.retry_after_ms / 1000)
    assert await one.acquire(FREE_TOKENS, 100, figures(10_000)) is None
