"""One behaviour for every backend of the ledger."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import IntegrityError

from headgate_database import Database
from headgate_metering.ledger import Ledger
from headgate_metering.store import LedgerStore, Page
from headgate_metering.stores.dialects import dialect_of
from headgate_metering.stores.ledger_tables import LEDGER, METADATA, settlement_row
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
from headgate_metering.wire import record_message
from headgate_testing.databases import ENGINES, location

MORNING = 1_700_006_400_000 // DAY_MS * DAY_MS
ONE = Usage(1, Quantities(10, 5), 100)
# Two of 30 November 2023, then the first of December, the first of January, the last and the first of a quarter.
TURNS_OF_MONTHS = [
    1_701_388_799_000,
    1_701_388_799_999,
    1_701_388_800_000,
    1_704_067_200_000,
    1_711_929_599_999,
    1_711_929_600_000,
]


def uid(name: str, at_ms: int = MORNING) -> str:
    """A UUIDv7 in the order of the names."""
    time = f"{at_ms:012x}"
    return f"{time[:8]}-{time[8:]}-7000-8000-{name.encode().hex():0>12}"


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


@pytest.fixture(params=["memory", *ENGINES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerStore]:
    if request.param == "memory":
        yield MemoryLedgerStore()
        return
    with location(request.param, tmp_path) as place:
        opened = SqlLedgerStore.open(place)
        await opened.prepare(MORNING)
        yield opened
        await opened.close()


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with location(request.param, tmp_path) as found:
        yield found


async def month(store: LedgerStore, account: str = "acct_a") -> dict[str, Usage]:
    return dict(await store.usage(account, MORNING - 10 * DAY_MS, MORNING + 20 * DAY_MS))


async def test_a_settled_call_comes_back_whole(store: LedgerStore) -> None:
    row = replace(settlement(uid("c1")), quantities=Quantities(10, 5, 3, 2))
    await store.record(settles(row))
    assert await store.records("acct_a", None, 10) == [row]
    assert await store.record_of("acct_a", uid("c1")) == row


async def test_a_settle_that_comes_again_changes_nothing(store: LedgerStore) -> None:
    await store.record(settles(settlement(uid("c1")), settlement(uid("c1"))))
    await store.record(settles(replace(settlement(uid("c1")), cost_nano_usd=777)))
    assert await store.records("acct_a", None, 10) == [settlement(uid("c1"))]
    assert await month(store) == {"gpt-4": ONE}


async def test_an_open_call_comes_back_whole_and_ends_with_its_settle(store: LedgerStore) -> None:
    await store.record(opens(intent(uid("c1")), intent(uid("c2"))))
    assert await store.open_calls() == [intent(uid("c1")), intent(uid("c2"))]
    await store.record(settles(settlement(uid("c1"))))
    assert await store.open_calls() == [intent(uid("c2"))]


async def test_an_open_call_without_a_price_stays_without(store: LedgerStore) -> None:
    await store.record(opens(replace(intent(uid("c1")), price=None), replace(intent(uid("c2")), price=b"")))
    assert [each.price for each in await store.open_calls()] == [None, b""]


async def test_an_intent_after_its_settle_opens_nothing(store: LedgerStore) -> None:
    await store.record(settles(settlement(uid("c1"))))
    await store.record(opens(intent(uid("c1")), checkpoint(uid("c1"), Quantities(0, 9), "journal-1", 9)))
    await store.record(
        Batch("journal-1", open_calls=(intent(uid("c2")),), settlements=(settlement(uid("c2")),))
    )
    assert await store.open_calls() == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1, 0, 1, 2)])
async def test_the_newest_checkpoint_counts_in_whatever_order_events_come(
    store: LedgerStore, order: tuple[int, ...]
) -> None:
    events = [
        intent(uid("c1")),
        checkpoint(uid("c1"), Quantities(0, 32), "journal-1", 4),
        checkpoint(uid("c1"), Quantities(0, 64), "journal-1", 7),
    ]
    for index in order:
        await store.record(opens(events[index]))
    assert await store.open_calls() == [
        replace(intent(uid("c1")), progress=Quantities(7, 64), progress_seq=7)
    ]


async def test_only_producers_with_open_calls_are_named_with_their_beats(store: LedgerStore) -> None:
    await store.record(opens(intent(uid("c1")), intent(uid("c2"), "journal-2")))
    await store.record(Batch("journal-1"))
    await store.record(Batch("journal-3", settlements=(settlement(uid("c3")),)))
    assert await store.producers() == {"journal-1": 2, "journal-2": 0}


async def test_expiry_settles_the_calls_of_the_producers_named(store: LedgerStore) -> None:
    await store.record(opens(intent(uid("c1")), intent(uid("c2"), "journal-2")))
    assert await store.expire({"journal-2": 0, "journal-9": 0}, swept, 10) == 1
    assert await store.expire({"journal-2": 0}, swept, 10) == 0
    assert await store.records("acct_a", None, 10) == [swept(intent(uid("c2"), "journal-2"))]
    assert await store.open_calls() == [intent(uid("c1"))]
    assert await month(store) == {"gpt-4": Usage(1, Quantities(7), 30)}


async def test_expiry_takes_no_more_calls_than_it_may(store: LedgerStore) -> None:
    await store.record(opens(*(intent(uid(f"c{n}")) for n in range(5))))
    assert [await store.expire({"journal-1": 1}, swept, 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_producer_that_gave_a_sign_of_life_keeps_its_calls(store: LedgerStore) -> None:
    await store.record(opens(intent(uid("c1"))))
    await store.record(Batch("journal-1"))
    assert await store.expire({"journal-1": 1}, swept, 10) == 0
    assert await store.expire({"journal-1": 2}, swept, 10) == 1


async def test_a_checkpoint_without_an_intent_is_closed_unbilled(store: LedgerStore) -> None:
    await store.record(opens(checkpoint(uid("c1"), Quantities(0, 32), "journal-1", 4)))
    assert await store.expire({"journal-1": 1}, swept, 10) == 1
    assert (await store.open_calls(), await store.records("acct_a", None, 10)) == ([], [])


async def test_a_settle_after_the_sweeper_becomes_one_adjustment(store: LedgerStore) -> None:
    await store.record(opens(intent(uid("c1"))))
    await store.expire({"journal-1": 1}, swept, 10)
    for _ in range(3):
        await store.record(settles(settlement(uid("c1"))))
    [adjustment] = await store.adjustments(uid("c1"))
    assert (adjustment.quantities, adjustment.cost_nano_usd) == (Quantities(3, 5), 70)
    assert await store.records("acct_a", None, 10) == [replace(settlement(uid("c1")), swept=True)]
    assert await month(store) == {"gpt-4": ONE}
    assert await store.usage("acct_a", MORNING, MORNING + 1) == {"gpt-4": ONE}


async def test_the_sweeper_never_settles_a_settled_call(store: LedgerStore) -> None:
    await store.record(settles(settlement(uid("c1"))))
    await store.record(settles(swept(intent(uid("c1")))))
    assert await store.records("acct_a", None, 10) == [settlement(uid("c1"))]
    assert await store.adjustments(uid("c1")) == []


async def test_an_end_reported_by_recovery_is_final(store: LedgerStore) -> None:
    recovered = replace(
        settlement(uid("c1")), ending=replace(settlement(uid("c1")).ending, outcome=Outcome.EXPIRED)
    )
    await store.record(settles(recovered))
    await store.record(settles(settlement(uid("c1"))))
    assert await store.records("acct_a", None, 10) == [recovered]


def by_another(outcome: Outcome, output: int) -> Settlement:
    """The settle of the same call by a second process, to which it was sent again."""
    one = settlement(uid("c1"))
    return replace(
        one,
        call=replace(one.call, producer_id="journal-2"),
        ending=replace(one.ending, outcome=outcome),
        quantities=Quantities(10, output),
    )


@pytest.mark.parametrize("lost_first", [True, False])
@pytest.mark.parametrize(
    ("lost", "again"),
    [(0, (Outcome.COMPLETED, 30)), (4, (Outcome.CANCELLED, 2)), (0, (Outcome.EXPIRED, 12))],
)
async def test_of_a_call_sent_again_the_second_sending_counts_in_either_order(
    store: LedgerStore, lost: int, again: tuple[Outcome, int], lost_first: bool
) -> None:
    one = settlement(uid("c1"))
    cut = replace(one, ending=replace(one.ending, outcome=Outcome.EXPIRED), quantities=Quantities(10, lost))
    second = by_another(*again)
    for _ in range(2):
        for each in (cut, second) if lost_first else (second, cut):
            await store.record(settles(each))
    [row] = await store.records("acct_a", None, 10)
    assert (row.ending.outcome, row.quantities.output_tokens) == again
    assert (await month(store))["gpt-4"].quantities == second.quantities


@pytest.mark.parametrize("early", [True, False])
async def test_adjustments_count_once_before_or_after_their_call(store: LedgerStore, early: bool) -> None:
    change = Adjustment(uid("c1"), "journal-1/8", Quantities(-1, 2), -40)
    batches = [Batch("journal-1", adjustments=(change, change)), settles(settlement(uid("c1")))]
    for batch in batches if early else reversed(batches):
        await store.record(batch)
        await store.record(batch)
    assert await month(store) == {"gpt-4": Usage(1, Quantities(9, 7), 60)}
    assert await store.usage("acct_a", MORNING, MORNING + 1) == {"gpt-4": Usage(1, Quantities(9, 7), 60)}
    [row] = await store.records("acct_a", None, 10)
    assert (row.quantities, row.cost_nano_usd, row.ending) == (
        Quantities(9, 7),
        60,
        settlement(uid("c1")).ending,
    )


async def test_usage_is_summed_by_the_name_asked_for_within_the_account(store: LedgerStore) -> None:
    await store.record(
        settles(
            settlement(uid("c1")),
            settlement(uid("c2")),
            settlement(uid("c3"), model="claude-3"),
            settlement(uid("c4"), account="acct_b"),
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
    await store.record(settles(*(settlement(uid(f"c{n}"), at_ms=MORNING + n * DAY_MS) for n in range(10))))
    usage = await store.usage("acct_a", MORNING + start, MORNING + end)
    assert usage.get("gpt-4", Usage()).requests == count
    assert usage.get("gpt-4", Usage()).cost_nano_usd == 100 * count


async def test_calls_of_the_ragged_ends_count(store: LedgerStore) -> None:
    noon = MORNING + DAY_MS // 2
    await store.record(settles(*(settlement(uid(f"c{n}"), at_ms=noon + n * DAY_MS) for n in range(4))))
    usage = await store.usage("acct_a", noon, noon + 3 * DAY_MS)
    assert usage == {"gpt-4": ONE + ONE + ONE}


async def test_records_come_newest_first_in_pages_of_one_account(store: LedgerStore) -> None:
    mine = [settlement(uid(f"c{n}"), at_ms=MORNING + n // 2) for n in range(7)]
    await store.record(settles(*mine, settlement(uid("d1"), account="acct_b")))
    newest = list(reversed(mine))
    seen: list[Settlement] = []
    after: Page | None = None
    while page := await store.records("acct_a", after, 3):
        seen += page
        after = Page(page[-1].call.started_at_ms, page[-1].call.call_id)
    assert seen == newest


async def test_a_record_is_shown_to_its_account_alone(store: LedgerStore) -> None:
    await store.record(settles(settlement(uid("c1"))))
    assert await store.record_of("acct_b", uid("c1")) is None
    assert await store.record_of("acct_a", uid("c2")) is None


async def test_dead_letters_are_kept_once_as_they_came(store: LedgerStore) -> None:
    letter = DeadLetter("digest", b"\x00payload", "the kind is unknown", "journal-1")
    batch = Batch("journal-1", settlements=(settlement(uid("c1")),), dead_letters=(letter,))
    await store.record(batch)
    await store.record(batch)
    assert await store.dead_letters() == [letter]
    assert await month(store) == {"gpt-4": ONE}


async def test_the_database_itself_refuses_a_second_row_for_a_call(place: str) -> None:
    await SqlLedgerStore.open(place).close()
    database = Database.open(place, METADATA, "metering")
    rows = [settlement_row(settlement(uid("c1"))), settlement_row(settlement(uid("c1")))]
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: dialect_of(connection).add_rows(connection, LEDGER, rows))
    await database.close()


async def test_the_ledger_survives_a_reopening(place: str) -> None:
    first = SqlLedgerStore.open(place)
    await first.record(opens(intent(uid("c2"))))
    await first.record(settles(settlement(uid("c1"))))
    await first.close()
    second = SqlLedgerStore.open(place)
    await second.record(settles(settlement(uid("c1"))))
    assert await second.records("acct_a", None, 10) == [settlement(uid("c1"))]
    assert await second.open_calls() == [intent(uid("c2"))]
    assert await month(second) == {"gpt-4": ONE}
    await second.close()


@pytest.mark.servers
async def test_on_postgresql_a_month_is_a_partition_and_no_call_is_without_one(tmp_path: Path) -> None:
    ids = [uid("c1", at_ms) for at_ms in TURNS_OF_MONTHS]
    rows = [settlement(each) for each in ids]
    with location("postgres", tmp_path) as place:
        store = SqlLedgerStore.open(place)
        await store.record(settles(rows[0]))  # before anything was made ready
        await store.prepare(MORNING)
        await store.prepare(MORNING + 40 * DAY_MS)
        await store.record(settles(*rows[1:]))
        await store.close()
        database = Database.open(place, METADATA, "metering")
        parts = await database.read(
            lambda connection: connection.exec_driver_sql(
                "SELECT tableoid::regclass::text, call_id::text FROM usage_ledger ORDER BY call_id"
            ).all()
        )
        await database.close()
    # November 2023 stays where its first call came to lie before its partition could be made.
    names = ["other", "other", "2023_12", "2024_01", "2024_03", "other"]
    assert [tuple(each) for each in parts] == [
        (f"usage_ledger_{name}", each) for name, each in zip(names, ids, strict=True)
    ]


@pytest.mark.servers
@pytest.mark.parametrize("spoil", ["not-a-uuid", "NUL"])
async def test_what_postgresql_cannot_hold_goes_to_the_dead_letters_and_delays_nothing(
    tmp_path: Path, spoil: str
) -> None:
    bad = record_message(settlement(uid("c1")))
    if spoil == "NUL":
        bad.requested_model, bad.producer_id = "a\0b", "journal\0"
    else:
        bad.call.call_id = spoil
    good = record_message(settlement(uid("c2")))
    with location("postgres", tmp_path) as place:
        store = SqlLedgerStore.open(place)
        await Ledger(store).record("journal-1", [bad, good])
        assert [each.call.call_id for each in await store.records("acct_a", None, 10)] == [uid("c2")]
        [letter] = await store.dead_letters()
        assert type(bad).FromString(letter.payload) == bad
        await store.close()
