"""One behaviour for every backend of the ledger."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from headgate_database import Database
from headgate_metering.store import LedgerStore, Page
from headgate_metering.stores.ledger_tables import LEDGER, METADATA, settlement_values
from headgate_metering.stores.memory_ledger import MemoryLedgerStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore
from headgate_metering.usage_event import (
    DAY_MS,
    Adjustment,
    Batch,
    Call,
    DeadLetter,
    Ending,
    OpenCall,
    Outcome,
    Quantities,
    Settlement,
    Usage,
    checkpoint,
)

MORNING = 1_700_006_400_000 // DAY_MS * DAY_MS
ONE = Usage(1, Quantities(10, 5), 100)


def call(call_id: str, account: str = "acct_a", model: str = "gpt-4", at_ms: int = MORNING) -> Call:
    return Call(
        call_id=call_id,
        account_id=account,
        principal_id="key_1",
        request_id="req_1",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        endpoint="POST /v1/chat/completions",
        requested_model=model,
        price_version="p1",
        started_at_ms=at_ms,
        producer_id="journal-1",
        seq=1,
    )


def settlement(
    call_id: str, account: str = "acct_a", model: str = "gpt-4", at_ms: int = MORNING
) -> Settlement:
    ending = Ending(Outcome.COMPLETED, "gpt-4-0613", "openai", False, 321, 45, 2, "")
    return Settlement(call(call_id, account, model, at_ms), ending, Quantities(10, 5), 100)


def intent(call_id: str, producer: str = "journal-1") -> OpenCall:
    return OpenCall(
        replace(call(call_id), producer_id=producer), "gpt-4-0613", "openai", b"price", 999, Quantities(7)
    )


def swept(found: OpenCall) -> Settlement:
    ending = Ending(Outcome.EXPIRED, found.model, found.provider, estimated=True)
    return Settlement(found.call, ending, found.progress, 30, swept=True)


def settles(*settlements: Settlement) -> Batch:
    return Batch("journal-1", settlements=settlements)


def opens(*open_calls: OpenCall) -> Batch:
    return Batch("journal-1", open_calls=open_calls)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerStore]:
    opened: LedgerStore = (
        MemoryLedgerStore() if request.param == "memory" else SqlLedgerStore.open(tmp_path / "ledger.sqlite3")
    )
    yield opened
    await opened.close()


async def month(store: LedgerStore, account: str = "acct_a") -> dict[str, Usage]:
    return dict(await store.usage(account, MORNING - 10 * DAY_MS, MORNING + 20 * DAY_MS))


async def test_a_settled_call_comes_back_whole(store: LedgerStore) -> None:
    row = replace(settlement("c1"), quantities=Quantities(10, 5, 3, 2))
    await store.record(settles(row))
    assert await store.records("acct_a", None, 10) == [row]
    assert await store.record_of("acct_a", "c1") == row


async def test_a_settle_that_comes_again_changes_nothing(store: LedgerStore) -> None:
    await store.record(settles(settlement("c1"), settlement("c1")))
    await store.record(settles(replace(settlement("c1"), cost_nano_usd=777)))
    assert await store.records("acct_a", None, 10) == [settlement("c1")]
    assert await month(store) == {"gpt-4": ONE}


async def test_an_open_call_comes_back_whole_and_ends_with_its_settle(store: LedgerStore) -> None:
    await store.record(opens(intent("c1"), intent("c2")))
    assert await store.open_calls() == [intent("c1"), intent("c2")]
    await store.record(settles(settlement("c1")))
    assert await store.open_calls() == [intent("c2")]


async def test_an_open_call_without_a_price_stays_without(store: LedgerStore) -> None:
    await store.record(opens(replace(intent("c1"), price=None), replace(intent("c2"), price=b"")))
    assert [each.price for each in await store.open_calls()] == [None, b""]


async def test_an_intent_after_its_settle_opens_nothing(store: LedgerStore) -> None:
    await store.record(settles(settlement("c1")))
    await store.record(opens(intent("c1"), checkpoint("c1", Quantities(0, 9), "journal-1", 9)))
    await store.record(Batch("journal-1", open_calls=(intent("c2"),), settlements=(settlement("c2"),)))
    assert await store.open_calls() == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1, 0, 1, 2)])
async def test_the_newest_checkpoint_counts_in_whatever_order_events_come(
    store: LedgerStore, order: tuple[int, ...]
) -> None:
    events = [
        intent("c1"),
        checkpoint("c1", Quantities(0, 32), "journal-1", 4),
        checkpoint("c1", Quantities(0, 64), "journal-1", 7),
    ]
    for index in order:
        await store.record(opens(events[index]))
    assert await store.open_calls() == [replace(intent("c1"), progress=Quantities(7, 64), progress_seq=7)]


async def test_only_producers_with_open_calls_are_named_with_their_beats(store: LedgerStore) -> None:
    await store.record(opens(intent("c1"), intent("c2", "journal-2")))
    await store.record(Batch("journal-1"))
    await store.record(Batch("journal-3", settlements=(settlement("c3"),)))
    assert await store.producers() == {"journal-1": 2, "journal-2": 0}


async def test_expiry_settles_the_calls_of_the_producers_named(store: LedgerStore) -> None:
    await store.record(opens(intent("c1"), intent("c2", "journal-2")))
    assert await store.expire(["journal-2", "journal-9"], swept, 10) == 1
    assert await store.expire(["journal-2"], swept, 10) == 0
    assert await store.records("acct_a", None, 10) == [swept(intent("c2", "journal-2"))]
    assert await store.open_calls() == [intent("c1")]
    assert await month(store) == {"gpt-4": Usage(1, Quantities(7), 30)}


async def test_expiry_takes_no_more_calls_than_it_may(store: LedgerStore) -> None:
    await store.record(opens(*(intent(f"c{n}") for n in range(5))))
    assert [await store.expire(["journal-1"], swept, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_checkpoint_without_an_intent_is_closed_unbilled(store: LedgerStore) -> None:
    await store.record(opens(checkpoint("c1", Quantities(0, 32), "journal-1", 4)))
    assert await store.expire(["journal-1"], swept, 10) == 1
    assert (await store.open_calls(), await store.records("acct_a", None, 10)) == ([], [])


async def test_a_settle_after_the_sweeper_becomes_one_adjustment(store: LedgerStore) -> None:
    await store.record(opens(intent("c1")))
    await store.expire(["journal-1"], swept, 10)
    for _ in range(3):
        await store.record(settles(settlement("c1")))
    [adjustment] = await store.adjustments("c1")
    assert (adjustment.quantities, adjustment.cost_nano_usd) == (Quantities(3, 5), 70)
    assert await store.records("acct_a", None, 10) == [replace(settlement("c1"), swept=True)]
    assert await month(store) == {"gpt-4": ONE}
    assert await store.usage("acct_a", MORNING, MORNING + 1) == {"gpt-4": ONE}


async def test_the_sweeper_never_settles_a_settled_call(store: LedgerStore) -> None:
    await store.record(settles(settlement("c1")))
    await store.record(settles(swept(intent("c1"))))
    assert await store.records("acct_a", None, 10) == [settlement("c1")]
    assert await store.adjustments("c1") == []


async def test_an_end_reported_by_recovery_is_final(store: LedgerStore) -> None:
    recovered = replace(settlement("c1"), ending=replace(settlement("c1").ending, outcome=Outcome.EXPIRED))
    await store.record(settles(recovered))
    await store.record(settles(settlement("c1")))
    assert await store.records("acct_a", None, 10) == [recovered]


@pytest.mark.parametrize("early", [True, False])
async def test_adjustments_count_once_before_or_after_their_call(store: LedgerStore, early: bool) -> None:
    change = Adjustment("c1", "journal-1/8", Quantities(-1, 2), -40)
    batches = [Batch("journal-1", adjustments=(change, change)), settles(settlement("c1"))]
    for batch in batches if early else reversed(batches):
        await store.record(batch)
        await store.record(batch)
    assert await month(store) == {"gpt-4": Usage(1, Quantities(9, 7), 60)}
    assert await store.usage("acct_a", MORNING, MORNING + 1) == {"gpt-4": Usage(1, Quantities(9, 7), 60)}
    [row] = await store.records("acct_a", None, 10)
    assert (row.quantities, row.cost_nano_usd, row.ending) == (Quantities(9, 7), 60, settlement("c1").ending)


async def test_usage_is_summed_by_the_name_asked_for_within_the_account(store: LedgerStore) -> None:
    await store.record(
        settles(
            settlement("c1"),
            settlement("c2"),
            settlement("c3", model="claude-3"),
            settlement("c4", account="acct_b"),
        )
    )
    assert await month(store) == {"gpt-4": ONE + ONE, "claude-3": ONE}
    assert await month(store, "acct_b") == {"gpt-4": ONE}
    assert await month(store, "acct_c") == {}


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        (0, 5 * DAY_MS, 5),  # whole days
        (1, 5 * DAY_MS, 4),  # a ragged start leaves out the call at midnight
        (0, 5 * DAY_MS + 1, 6),  # a ragged end takes the call at the next midnight
        (DAY_MS - 1, 2 * DAY_MS + 1, 2),
        (5, 10, 0),  # within one day
        (0, 1, 1),
        (3 * DAY_MS, 3 * DAY_MS, 0),
        (DAY_MS // 2, DAY_MS + DAY_MS // 2, 1),  # no whole day
        (-DAY_MS, 30 * DAY_MS, 10),
    ],
)
async def test_a_period_includes_its_start_and_not_its_end(
    store: LedgerStore, start: int, end: int, count: int
) -> None:
    await store.record(settles(*(settlement(f"c{n}", at_ms=MORNING + n * DAY_MS) for n in range(10))))
    usage = await store.usage("acct_a", MORNING + start, MORNING + end)
    assert usage.get("gpt-4", Usage()).requests == count
    assert usage.get("gpt-4", Usage()).cost_nano_usd == 100 * count


async def test_calls_of_the_ragged_ends_count(store: LedgerStore) -> None:
    noon = MORNING + DAY_MS // 2
    await store.record(settles(*(settlement(f"c{n}", at_ms=noon + n * DAY_MS) for n in range(4))))
    usage = await store.usage("acct_a", noon, noon + 3 * DAY_MS)
    assert usage == {"gpt-4": ONE + ONE + ONE}


async def test_records_come_newest_first_in_pages_of_one_account(store: LedgerStore) -> None:
    mine = [settlement(f"c{n}", at_ms=MORNING + n // 2) for n in range(7)]
    await store.record(settles(*mine, settlement("d1", account="acct_b")))
    newest = list(reversed(mine))
    seen: list[Settlement] = []
    after: Page | None = None
    while page := await store.records("acct_a", after, 3):
        seen += page
        after = Page(page[-1].call.started_at_ms, page[-1].call.call_id)
    assert seen == newest


async def test_a_record_is_shown_to_its_account_alone(store: LedgerStore) -> None:
    await store.record(settles(settlement("c1")))
    assert await store.record_of("acct_b", "c1") is None
    assert await store.record_of("acct_a", "c2") is None


async def test_dead_letters_are_kept_once_as_they_came(store: LedgerStore) -> None:
    letter = DeadLetter("digest", b"\x00payload", "the kind is unknown", "journal-1")
    batch = Batch("journal-1", settlements=(settlement("c1"),), dead_letters=(letter,))
    await store.record(batch)
    await store.record(batch)
    assert await store.dead_letters() == [letter]
    assert await month(store) == {"gpt-4": ONE}


async def test_the_database_itself_refuses_a_second_row_for_a_call(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "ledger.sqlite3", METADATA, "metering")
    rows = [settlement_values(settlement("c1")), settlement_values(settlement("c1"))]
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: connection.execute(LEDGER.insert(), rows))
    await database.close()


async def test_the_ledger_survives_a_reopening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    first = SqlLedgerStore.open(path)
    await first.record(opens(intent("c2")))
    await first.record(settles(settlement("c1")))
    await first.close()
    second = SqlLedgerStore.open(path)
    await second.record(settles(settlement("c1")))
    assert await second.records("acct_a", None, 10) == [settlement("c1")]
    assert await second.open_calls() == [intent("c2")]
    assert await month(second) == {"gpt-4": ONE}
    await second.close()
