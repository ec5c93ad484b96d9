"""A holder spends locally, waits little, says 429 only on metering's word, and keeps no unit it cannot spend."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headgate.metering.v1.metering_pb2 import (
    AcquireLeasesRequest,
    AcquireLeasesResponse,
    LeaseAsk,
    LeaseGrant,
)
from headgate_leases import HolderLimits, LeaseHolder, Level, Refusal, TokenBucket, answer_ask
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.clock import FakeClock

PATIENT = HolderLimits(wait_s=5.0, backoff_s=0.0, backoff_most_s=0.0)
HASTY = HolderLimits(wait_s=0.005, ask_timeout_s=0.01, backoff_s=0.0, backoff_most_s=0.0)


class Grantor:
    """Metering's side in memory: one bucket figure for every bucket id, and a book of what was granted."""

    def __init__(self, clock: FakeClock, capacity: int, per_minute: int | None = None) -> None:
        self.clock = clock
        self.bucket = TokenBucket(capacity, per_minute or capacity)
        self.levels: dict[str, Level] = {}
        self.holders: dict[str, set[str]] = {}
        self.requests: list[AcquireLeasesRequest] = []
        self.failing: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def acquire(self, request: AcquireLeasesRequest) -> AcquireLeasesResponse:
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        return AcquireLeasesResponse(grants=[self.grant(request.holder_id, ask) for ask in request.asks])

    def grant(self, holder_id: str, ask: LeaseAsk) -> LeaseGrant:
        now = self.clock.wall_ms()
        level = self.levels.get(ask.bucket_id, self.bucket.full(now))
        answer = answer_ask(self.bucket, level, now, want=ask.want, returned=ask.returned)
        self.levels[ask.bucket_id] = answer.level
        holders = self.holders.setdefault(ask.bucket_id, set())
        holders.add(holder_id)
        return LeaseGrant(
            bucket_id=ask.bucket_id,
            units=answer.units,
            ttl_ms=5000,
            limit=self.bucket.capacity,
            remaining=answer.remaining,
            reset_at_ms=answer.reset_at_ms,
            holders=len(holders),
            retry_after_ms=answer.retry_after_ms,
        )

    def remaining(self, bucket_id: str = "b") -> int:
        level = self.levels.get(bucket_id)
        return self.bucket.capacity if level is None else self.bucket.remaining(level, self.clock.wall_ms())

    def asks(self) -> list[LeaseAsk]:
        return [ask for request in self.requests for ask in request.asks]


def holder_of(grantor: Grantor, limits: HolderLimits = PATIENT, name: str = "h") -> LeaseHolder:
    return LeaseHolder(name, grantor.acquire, grantor.clock, limits)


async def admitted(holder: LeaseHolder, grantor: Grantor, calls: int, units: int = 1) -> int:
    """Calls of `calls`, one after the other, that got their units."""
    return sum([await holder.acquire("b", units, grantor.bucket) is None for _ in range(calls)])


async def settled(holder: LeaseHolder) -> None:
    """Let the asks under way be answered."""
    for _ in range(20):
        await asyncio.sleep(0)


async def refused(holder: LeaseHolder, grantor: Grantor, units: int = 1) -> Refusal:
    refusal = await holder.acquire("b", units, grantor.bucket)
    assert refusal is not None
    return refusal


@pytest.mark.parametrize("limit", [1, 10, 60, 99, 100, 500, 1000, 2500])
async def test_a_sole_caller_gets_exactly_its_limit_and_more_after_retry_after(limit: int) -> None:
    """RATE-12."""
    grantor = Grantor(FakeClock(), limit)
    holder = holder_of(grantor)
    assert await admitted(holder, grantor, limit) == limit
    refusal = await refused(holder, grantor)
    assert refusal.known and not refusal.never_fits
    assert refusal.retry_after_ms == -(-60_000 // limit)
    assert (refusal.state.limit, refusal.state.remaining) == (limit, 0)
    grantor.clock.advance(refusal.retry_after_ms / 1000)
    assert await holder.acquire("b", 1, grantor.bucket) is None


@pytest.mark.parametrize("limit", [10, 1000])
async def test_callers_at_the_same_time_get_exactly_the_limit(limit: int) -> None:
    grantor = Grantor(FakeClock(), limit)
    holder = holder_of(grantor)
    refusals = await asyncio.gather(*(holder.acquire("b", 1, grantor.bucket) for _ in range(2 * limit)))
    assert refusals.count(None) == limit


async def test_while_retry_after_runs_metering_is_not_asked() -> None:
    grantor = Grantor(FakeClock(), 10)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 11)
    asked = len(grantor.requests)
    assert await admitted(holder, grantor, 50) == 0
    assert len(grantor.requests) == asked


async def test_most_calls_of_a_large_limit_touch_nobody() -> None:
    grantor = Grantor(FakeClock(), 100_000)
    holder = holder_of(grantor)
    assert await admitted(holder, grantor, 20_000) == 20_000
    assert len(grantor.requests) < 100
    assert holder.waits < 50


async def test_top_up_comes_before_the_lease_is_dry() -> None:
    grantor = Grantor(FakeClock(), 10_000)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1)
    waits = holder.waits
    for _ in range(500):
        assert holder.take("b")
        await settled(holder)
    assert holder.waits == waits


async def test_calls_of_one_bucket_share_one_ask_and_a_process_has_one_batch_in_flight() -> None:
    grantor = Grantor(FakeClock(), 1000)
    grantor.gate = asyncio.Event()
    holder = holder_of(grantor)
    calls = [asyncio.create_task(holder.acquire("b", 1, grantor.bucket)) for _ in range(5)]
    await settled(holder)
    later = [asyncio.create_task(holder.acquire(name, 1, grantor.bucket)) for name in ("b", "c", "d")]
    await settled(holder)
    assert [len(request.asks) for request in grantor.requests] == [1]
    assert grantor.requests[0].asks[0].want == 5
    grantor.gate.set()
    assert await asyncio.gather(*calls, *later) == [None] * 8
    assert {ask.bucket_id for ask in grantor.requests[1].asks} == {"b", "c", "d"}


async def test_a_request_that_can_never_fit_is_refused_at_once() -> None:
    grantor = Grantor(FakeClock(), 100)
    refusal = await refused(holder_of(grantor), grantor, 101)
    assert refusal.never_fits and refusal.known
    assert grantor.requests == []


async def test_retry_after_of_many_units_counts_them_all() -> None:
    grantor = Grantor(FakeClock(), 600)
    holder = holder_of(grantor)
    assert await admitted(holder, grantor, 1, 600) == 1
    refusal = await refused(holder, grantor, 50)
    assert refusal.retry_after_ms == 5000
    grantor.clock.advance(5)
    assert await holder.acquire("b", 50, grantor.bucket) is None


async def test_expired_units_are_not_spent_but_given_back() -> None:
    grantor = Grantor(FakeClock(), 1000, 1)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1)
    assert grantor.remaining() == 990
    grantor.clock.advance(5)
    assert not holder.take("b")
    holder.sweep()
    await settled(holder)
    assert grantor.remaining() == 999
    assert sum(ask.spent for ask in grantor.asks()) == 1


async def test_a_lease_is_counted_from_the_ask_not_from_the_late_answer() -> None:
    grantor = Grantor(FakeClock(), 1000)
    grantor.gate = asyncio.Event()
    holder = holder_of(grantor)
    call = asyncio.create_task(holder.acquire("b", 1, grantor.bucket))
    await settled(holder)
    grantor.clock.advance(4)
    grantor.gate.set()
    assert await call is None
    assert holder.take("b")
    grantor.clock.advance(1)
    assert not holder.take("b")


async def test_fewer_tokens_than_reserved_flow_back() -> None:
    grantor = Grantor(FakeClock(), 1000, 1)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1, 300)
    holder.adjust("b", -200)
    assert await admitted(holder, grantor, 1, 900) == 1
    assert sum(ask.spent for ask in grantor.asks()) <= 100 + 900


async def test_more_tokens_than_reserved_are_a_debt_booked_at_once() -> None:
    grantor = Grantor(FakeClock(), 1000, 1)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1, 300)
    holder.adjust("b", 500)
    await settled(holder)
    state = holder.state("b")
    assert state is not None
    assert state.remaining == 200
    assert (await refused(holder, grantor, 201)).known
    assert await holder.acquire("b", 200, grantor.bucket) is None


async def test_a_correction_that_comes_after_the_lease_is_not_lost() -> None:
    grantor = Grantor(FakeClock(), 1000, 1)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1, 300)
    grantor.clock.advance(30)
    holder.adjust("b", -250)
    await settled(holder)
    assert grantor.remaining() == 950


async def test_every_unit_granted_is_spent_returned_or_held() -> None:
    grantor = Grantor(FakeClock(), 100_000, 1)
    holder = holder_of(grantor)
    spent = 0
    for number in range(200):
        units = 1 + number * 37 % 900
        if await holder.acquire("b", units, grantor.bucket) is None:
            spent += units
        if number % 3 == 0:
            holder.adjust("b", -5)
            spent -= 5
        if number % 7 == 0:
            holder.adjust("b", 11)
            spent += 11
        grantor.clock.advance(number % 5)
    await holder.close()
    assert sum(ask.spent for ask in grantor.asks()) == spent
    refilled = (grantor.clock.wall_ms() - FakeClock().wall_ms()) // 60_000
    assert 0 <= grantor.remaining() - (100_000 - spent) <= refilled


def away() -> Exception:
    return HeadgateError(Reason.SERVICE_UNAVAILABLE, "away")


@pytest.mark.parametrize("failure", [away(), TimeoutError(), ConnectionError()])
async def test_without_metering_a_fair_share_of_the_last_known_limit_is_admitted(failure: Exception) -> None:
    grantor = Grantor(FakeClock(), 40)
    holder = holder_of(grantor)
    await asyncio.gather(
        *(holder_of(grantor, name=f"h{n}").acquire("b", 1, grantor.bucket) for n in range(3))
    )
    await admitted(holder, grantor, 1)
    grantor.failing = failure
    assert await admitted(holder, grantor, 50) == 10, "a quarter of 40"
    refusal = await refused(holder, grantor)
    assert not refusal.known
    assert refusal.retry_after_ms == 6000
    grantor.clock.advance(6)
    assert await admitted(holder, grantor, 2) == 1
    await holder.close()


async def test_a_bucket_never_seen_gets_a_tenth_of_the_policys_figure_without_metering() -> None:
    grantor = Grantor(FakeClock(), 100)
    grantor.failing = away()
    holder = holder_of(grantor)
    assert await admitted(holder, grantor, 50) == 10
    await holder.close()


async def test_what_is_leased_is_spent_before_the_fair_share() -> None:
    grantor = Grantor(FakeClock(), 1000)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1)
    grantor.failing = away()
    assert await admitted(holder, grantor, 9) == 9
    assert holder.fair_shares == 0
    await holder.close()


async def test_a_hanging_metering_costs_one_wait_and_then_nobody_waits() -> None:
    grantor = Grantor(FakeClock(), 1000)
    grantor.gate = asyncio.Event()
    holder = holder_of(grantor, HASTY)
    assert await admitted(holder, grantor, 20) == 20
    assert (holder.waits, holder.away) == (1, True)
    grantor.gate.set()
    while holder.away:
        await asyncio.sleep(0)
    await holder.close()


async def test_metering_is_found_again_even_if_nothing_was_admitted_meanwhile() -> None:
    grantor = Grantor(FakeClock(), 1000)
    grantor.failing = away()
    holder = holder_of(grantor)
    assert not (await refused(holder, grantor, 900)).known
    grantor.failing = None
    while holder.away:
        await asyncio.sleep(0)
    assert await holder.acquire("b", 900, grantor.bucket) is None


async def test_what_was_admitted_in_meterings_absence_is_owed_when_it_is_back() -> None:
    grantor = Grantor(FakeClock(), 40)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1)
    grantor.failing = away()
    assert await admitted(holder, grantor, 100) == 40, "a sole holder's share is the limit"
    grantor.failing = None
    while holder.away:
        await asyncio.sleep(0)
    await settled(holder)
    assert await admitted(holder, grantor, 10) == 0


async def test_a_refusal_holds_while_its_retry_after_runs_even_without_metering() -> None:
    grantor = Grantor(FakeClock(), 10)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 11)
    grantor.failing = away()
    assert (await refused(holder, grantor)).known


async def test_units_given_back_in_a_failed_ask_are_lost_and_debts_are_not() -> None:
    grantor = Grantor(FakeClock(), 1000, 1)
    holder = holder_of(grantor)
    await admitted(holder, grantor, 1, 100)
    for correction, remaining in ((-50, 900), (70, 830)):
        grantor.clock.advance(5.5)
        grantor.failing = away()
        holder.adjust("b", correction)
        await settled(holder)
        grantor.failing = None
        while holder.away:
            await asyncio.sleep(0)
        await settled(holder)
        assert grantor.remaining() == remaining


async def test_a_caller_that_goes_away_while_waiting_spends_nothing() -> None:
    grantor = Grantor(FakeClock(), 10)
    grantor.gate = asyncio.Event()
    holder = holder_of(grantor)
    gone = asyncio.create_task(holder.acquire("b", 1, grantor.bucket))
    await settled(holder)
    gone.cancel()
    grantor.gate.set()
    await settled(holder)
    assert await admitted(holder, grantor, 11) == 10


async def test_buckets_are_bounded_and_the_idlest_goes_with_its_units_given_back() -> None:
    grantor = Grantor(FakeClock(), 1000, 1)
    holder = holder_of(grantor, HolderLimits(wait_s=5.0, max_buckets=3))
    for name in ("a", "b", "c", "a", "d"):
        assert await holder.acquire(name, 20, grantor.bucket) is None
    await settled(holder)
    assert holder.buckets == 3
    assert holder.state("b") is None
    assert holder.state("a") is not None
    holder.adjust("a", -10)
    for name in ("e", "f", "g"):
        assert await holder.acquire(name, 1, grantor.bucket) is None
    await settled(holder)
    assert grantor.remaining("a") == 970


async def test_state_counts_what_is_left_there_and_here() -> None:
    grantor = Grantor(FakeClock(), 1000)
    holder = holder_of(grantor)
    assert holder.state("b") is None
    await admitted(holder, grantor, 3)
    state = holder.state("b")
    assert state is not None
    assert (state.limit, state.remaining) == (1000, 997)
    assert state.reset_at_ms > grantor.clock.wall_ms()


async def race(rounds: int, admit: Callable[[int], Awaitable[bool]]) -> int:
    """Calls admitted of `rounds`, dealt to four processes in turn."""
    return sum([await admit(number % 4) for number in range(rounds)])


async def test_four_processes_at_four_times_the_load_never_exceed_the_limit() -> None:
    """RATE-20, R6."""
    limit = 2000
    grantor = Grantor(FakeClock(), limit)
    holders = [holder_of(grantor, name=f"h{number}") for number in range(4)]

    async def admit(number: int) -> bool:
        return await holders[number].acquire("b", 1, grantor.bucket) is None

    admitted_calls = await race(4 * limit, admit)
    assert 0.98 * limit <= admitted_calls <= limit


async def test_counting_locally_without_leases_exceeds_the_limit() -> None:
    """The negative control: the race above can find an overshoot."""
    clock, bucket = FakeClock(), TokenBucket(2000, 2000)
    levels = [bucket.full(clock.wall_ms())] * 4

    async def admit(number: int) -> bool:
        levels[number], granted = bucket.take(levels[number], clock.wall_ms(), 1)
        return granted == 1

    assert await race(4 * 2000, admit) > 2 * 2000
