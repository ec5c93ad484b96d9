"""Calls of silent producers are settled; those of living ones never."""

from collections.abc import Callable, Mapping

import pytest

from headgate.registry.v1.registry_pb2 import Price
from headgate_database import StoreAwayError
from headgate_metering.stores.memory_ledger import MemoryLedgerStore
from headgate_metering.sweeper import Sweeper, expired
from headgate_metering.usage_event import Batch, Call, OpenCall, Outcome, Quantities, Settlement, checkpoint
from headgate_testing.clock import FakeClock

PRICE = Price(version="p1", input_pico_usd=150_000, output_pico_usd=600_000).SerializeToString()


def intent(call_id: str, producer: str = "journal-1", price: bytes | None = PRICE) -> OpenCall:
    call = Call(call_id, "acct_a", "key_1", "", "", "", "gpt-4", "p1", 1_700_000_000_000, producer, 1)
    return OpenCall(call, "gpt-4-0613", "openai", price, 10**9, Quantities(100))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryLedgerStore:
    return MemoryLedgerStore()


@pytest.fixture
async def sweeper(store: MemoryLedgerStore, clock: FakeClock) -> Sweeper:
    await store.record(Batch("journal-1", (intent("c1"), intent("c2"))))
    await store.record(Batch("journal-2", (intent("c3", "journal-2"),)))
    return Sweeper(store, clock, silence_s=60)


async def pass_time(sweeper: Sweeper, clock: FakeClock, seconds: int) -> int:
    """Sweep every five seconds; gives how many calls were settled."""
    swept = 0
    for _ in range(seconds // 5):
        clock.advance(5)
        swept += await sweeper.sweep()
    return swept


async def test_silence_of_a_minute_ends_the_calls_of_that_producer_alone(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    assert await sweeper.sweep() == 0
    assert await pass_time(sweeper, clock, 55) == 0
    await store.record(Batch("journal-2"))  # a sign of life
    assert await pass_time(sweeper, clock, 5) == 2
    assert [each.call.call_id for each in await store.open_calls()] == ["c3"]
    assert await pass_time(sweeper, clock, 55) == 0
    assert await pass_time(sweeper, clock, 5) == 1


async def test_any_event_of_a_producer_is_a_sign_of_life(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    await sweeper.sweep()
    for n in range(10):
        await pass_time(sweeper, clock, 30)
        await store.record(
            Batch("journal-1", (checkpoint("c1", Quantities(0, 32 * n), "journal-1", 10 + n),))
        )
    assert {each.call.call_id for each in await store.open_calls()} >= {"c1", "c2"}


async def test_a_restart_of_metering_gives_every_producer_its_whole_minute(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    await sweeper.sweep()
    clock.advance(3600)
    assert await Sweeper(store, clock, silence_s=60).sweep() == 0


async def test_a_step_of_the_wall_clock_silences_nobody(sweeper: Sweeper, clock: FakeClock) -> None:
    await sweeper.sweep()
    clock.skew(300)
    assert await sweeper.sweep() == 0


async def test_a_replica_that_stood_still_takes_nobody_for_silent(sweeper: Sweeper, clock: FakeClock) -> None:
    await sweeper.sweep()
    clock.advance(3600)
    assert await sweeper.sweep() == 0


class Flaky(MemoryLedgerStore):
    """A ledger that can be away."""

    away = False

    async def producers(self) -> Mapping[str, int]:
        if self.away:
            raise StoreAwayError
        return await super().producers()


async def test_a_producer_that_nobody_could_book_for_was_not_silent(clock: FakeClock) -> None:
    store = Flaky()
    await store.record(Batch("journal-1", (intent("c1"),)))
    sweeper = Sweeper(store, clock, silence_s=60)
    assert await pass_time(sweeper, clock, 55) == 0
    store.away = True
    for _ in range(20):
        clock.advance(5)
        with pytest.raises(StoreAwayError):
            await sweeper.sweep()
    store.away = False
    assert await pass_time(sweeper, clock, 60) == 0
    assert await pass_time(sweeper, clock, 5) == 1


class Late(MemoryLedgerStore):
    """A producer gives a sign of life between the look at it and the end of its calls."""

    async def expire(
        self, silent: Mapping[str, int], settle: Callable[[OpenCall], Settlement], limit: int
    ) -> int:
        await self.record(Batch("journal-1"))
        return await super().expire(silent, settle, limit)


async def test_a_sign_of_life_in_the_last_moment_counts(clock: FakeClock) -> None:
    store = Late()
    await store.record(Batch("journal-1", (intent("c1"),)))
    assert await pass_time(Sweeper(store, clock, silence_s=60), clock, 600) == 0


async def test_many_calls_are_settled_in_rounds(store: MemoryLedgerStore, clock: FakeClock) -> None:
    await store.record(Batch("journal-1", tuple(intent(f"c{n}") for n in range(1200))))
    sweeper = Sweeper(store, clock, silence_s=60)
    await sweeper.sweep()
    assert await pass_time(sweeper, clock, 60) == 1200
    assert await sweeper.sweep() == 0


async def test_the_last_checkpoint_is_billed_at_the_price_of_the_intent(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    await store.record(Batch("journal-1", (checkpoint("c1", Quantities(0, 64), "journal-1", 9),)))
    await sweeper.sweep()
    await pass_time(sweeper, clock, 60)
    row = await store.record_of("acct_a", "c1")
    assert row is not None
    assert (row.ending.outcome, row.ending.estimated, row.swept) == (Outcome.EXPIRED, True, True)
    assert (row.ending.model, row.ending.provider) == ("gpt-4-0613", "openai")
    assert row.quantities == Quantities(100, 64)
    assert row.cost_nano_usd == (100 * 150_000 + 64 * 600_000) // 1000


def test_without_a_checkpoint_no_output_is_billed() -> None:
    assert expired(intent("c1")).quantities == Quantities(100, 0)


def test_a_call_without_a_price_costs_the_flat_one() -> None:
    assert expired(intent("c1", price=None)).cost_nano_usd == 100 * 2_000
    assert expired(intent("c1", price=b"")).cost_nano_usd == 0
