"""Events that cannot be booked hold up nobody and are kept with their reason."""

from collections.abc import Callable

import pytest

from headgate.metering.v1 import metering_pb2 as pb
from headgate_metering.ledger import Ledger
from headgate_metering.store import UnusableBatchError
from headgate_metering.stores.memory_ledger import MemoryLedgerStore
from headgate_metering.usage_event import Batch
from headgate_metering.wire import read_event, record_message


def settle(call_id: str = "c1") -> pb.UsageEvent:
    event = pb.UsageEvent(
        kind=pb.EVENT_KIND_SETTLE,
        outcome=pb.OUTCOME_COMPLETED,
        producer_id="journal-1",
        seq=2,
        requested_model="gpt-4",
        model="gpt-4-0613",
        provider="openai",
        cost_nano_usd=100,
        quantities=pb.Quantities(input_tokens=10, output_tokens=5),
        latency_ms=300,
    )
    event.call.call_id = call_id
    event.call.account_id = "acct_a"
    event.call.started_at_ms = 1_700_000_000_000
    event.price.version = "p1"
    return event


def spoilt(spoil: Callable[[pb.UsageEvent], None]) -> pb.UsageEvent:
    event = settle("spoilt")
    spoil(event)
    return event


UNUSABLE: dict[str, Callable[[pb.UsageEvent], None]] = {
    "call_id is missing": lambda e: e.call.ClearField("call_id"),
    "call_id is missing or too long": lambda e: setattr(e.call, "call_id", "x" * 129),
    "account_id is missing": lambda e: e.call.ClearField("account_id"),
    "started_at_ms is no time": lambda e: e.call.ClearField("started_at_ms"),
    "seq is out of range": lambda e: setattr(e, "seq", 2**64 - 1),
    "an amount is out of range": lambda e: setattr(e, "cost_nano_usd", 2**62),
    "quantities are out of range": lambda e: setattr(e.quantities, "reasoning_tokens", -(2**63)),
    "the kind is unknown": lambda e: e.ClearField("kind"),
    "outcome is missing": lambda e: e.ClearField("outcome"),
    "a settle is negative": lambda e: setattr(e.quantities, "output_tokens", -1),
    "a duration is out of range": lambda e: setattr(e, "latency_ms", 2**60),
}


@pytest.mark.parametrize("reason", UNUSABLE)
async def test_an_unusable_event_is_kept_with_its_reason_and_the_others_are_booked(reason: str) -> None:
    store = MemoryLedgerStore()
    bad = spoilt(UNUSABLE[reason])
    await Ledger(store).record("journal-1", [settle("c1"), bad, settle("c2")])
    [letter] = await store.dead_letters()
    assert letter.reason.startswith(reason)
    assert pb.UsageEvent.FromString(letter.payload) == bad
    assert {each.call.call_id for each in await store.records("acct_a", None, 10)} == {"c1", "c2"}


async def test_unknown_kinds_and_outcomes_of_newer_programs_are_kept() -> None:
    store = MemoryLedgerStore()
    newer = settle()
    newer.MergeFromString(b"\x10\x63")  # kind = 99
    newest = settle("c2")
    newest.MergeFromString(b"\x18\x63")  # outcome = 99
    await Ledger(store).record("journal-1", [newer, newest])
    assert len(await store.dead_letters()) == 2


class FussyStore(MemoryLedgerStore):
    """Refuses batches that hold the call `poison`, as a database refuses a value."""

    async def record(self, batch: Batch) -> None:
        if any(each.call.call_id == "poison" for each in batch.settlements):
            raise UnusableBatchError("value refused")
        await super().record(batch)


async def test_an_event_that_the_store_refuses_goes_alone_to_the_dead_letters() -> None:
    store = FussyStore()
    await Ledger(store).record("journal-1", [settle("c1"), settle("poison"), settle("c2")])
    [letter] = await store.dead_letters()
    assert letter.reason == "value refused"
    assert {each.call.call_id for each in await store.records("acct_a", None, 10)} == {"c1", "c2"}


def test_a_record_is_the_settle_event_it_came_from() -> None:
    event = settle()
    event.call.request_id, event.call.principal_id, event.call.trace_id = "req", "key_1", "ab" * 16
    event.call.endpoint, event.attempts, event.error_reason = "POST /v1/embeddings", 2, "UPSTREAM_ERROR"
    event.estimated, event.first_token_ms, event.time_ms = True, 12, 1_700_000_000_300
    event.quantities.cached_input_tokens, event.quantities.reasoning_tokens = 3, 2
    settlement = read_event(event)
    assert record_message(settlement) == event  # type: ignore[arg-type]
