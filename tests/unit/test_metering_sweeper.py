"""Calls of silent producers are settled; those of living ones never."""

import pytest

from headgate.registry.v1.registry_pb2 import Price
from headgate_metering.stores.memory_ledger import MemoryLedgerStore
from headgate_metering.sweeper import Sweeper, expired
from headgate_metering.usage_event import Batch, Call, OpenCall, Outcome, Quantities, checkpoint
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


async def test_silence_of_a_minute_ends_the_calls_of_that_producer_alone(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    assert await sweeper.sweep() == 0
    clock.advance(59)
    assert await sweeper.sweep() == 0
    await store.record(Batch("journal-2"))  # a sign of life
    clock.advance(1)
    assert await sweeper.sweep() == 2
    assert [each.call.call_id for each in await store.open_calls()] == ["c3"]
    clock.advance(60)
    assert await sweeper.sweep() == 1


async def test_any_event_of_a_producer_is_a_sign_of_life(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    for n in range(10):
        await sweeper.sweep()
        clock.advance(30)
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


async def test_many_calls_are_settled_in_rounds(store: MemoryLedgerStore, clock: FakeClock) -> None:
    await store.record(Batch("journal-1", tuple(intent(f"c{n}") for n in range(1200))))
    sweeper = Sweeper(store, clock, silence_s=60)
    await sweeper.sweep()
    clock.advance(60)
    assert await sweeper.sweep() == 1200
    assert await sweeper.sweep() == 0


async def test_the_last_checkpoint_is_billed_at_the_price_of_the_intent(
    sweeper: Sweeper, store: MemoryLedgerStore, clock: FakeClock
) -> None:
    await store.record(Batch("journal-1", (checkpoint("c1", Quantities(0, 64), "journal-1", 9),)))
    await sweeper.sweep()
    clock.advance(60)
    await sweeper.sweep()
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
