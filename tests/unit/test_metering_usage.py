"""Periods and pages of an account's usage."""

from datetime import UTC, datetime

import pytest

from headgate_metering.stores.memory_ledger import MemoryLedgerStore
from headgate_metering.usage import UsageQuery, month_of
from headgate_metering.usage_event import Batch, Call, Ending, Outcome, Quantities, Settlement, Usage
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.clock import FakeClock


def ms(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


DECEMBER = ms(2024, 12, 1)
CALLS = [f"01937f2c-0000-7000-8000-00000000000{n}" for n in range(4)]


@pytest.fixture
async def query() -> UsageQuery:
    store = MemoryLedgerStore()
    moments = [DECEMBER - 1, DECEMBER, ms(2024, 12, 31, 23, 59, 59), ms(2025, 1, 1)]
    rows = [
        Settlement(
            Call(CALLS[n], "acct_a", "", "", "", "", "gpt-4", "", at_ms, "", n),
            Ending(Outcome.COMPLETED, "gpt-4", "openai"),
            Quantities(10, 5),
            100,
        )
        for n, at_ms in enumerate(moments)
    ]
    await store.record(Batch("journal-1", settlements=tuple(rows)))
    return UsageQuery(store, FakeClock(wall_ms=ms(2024, 12, 15, 12)))


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (ms(2024, 12, 31, 23, 59, 59), DECEMBER, ms(2025, 1, 1)),
        (ms(2025, 1, 1), ms(2025, 1, 1), ms(2025, 2, 1)),
        (ms(2024, 2, 29), ms(2024, 2, 1), ms(2024, 3, 1)),
    ],
)
def test_a_month_begins_and_ends_at_midnight_utc(now: int, start: int, end: int) -> None:
    month = month_of(now)
    assert (month.start_ms, month.end_ms) == (start, end)


async def test_the_default_period_is_this_calendar_month(query: UsageQuery) -> None:
    report = await query.report("acct_a", 0, 0)
    assert (report.period.start_ms, report.period.end_ms) == (DECEMBER, ms(2025, 1, 1))
    assert report.models == {"gpt-4": Usage(2, Quantities(20, 10), 200)}


async def test_a_period_may_be_named(query: UsageQuery) -> None:
    assert (await query.report("acct_a", 1, ms(2030, 1, 1))).models["gpt-4"].requests == 4
    assert (await query.report("acct_a", DECEMBER, DECEMBER)).models == {}


@pytest.mark.parametrize(("start", "end"), [(10, 5), (-5, 5), (0, 5), (0, 2**62)])
async def test_a_period_that_is_none_is_refused(query: UsageQuery, start: int, end: int) -> None:
    with pytest.raises(HeadgateError) as refused:
        await query.report("acct_a", start, end)
    assert refused.value.reason is Reason.INVALID_REQUEST


async def test_pages_hold_what_was_asked_for_and_the_last_has_no_token(query: UsageQuery) -> None:
    pages, token = [], ""
    while True:
        page = await query.records("acct_a", 3, token)
        pages.append([each.call.call_id for each in page.settlements])
        token = page.next_page_token
        if not token:
            break
    assert pages == [[CALLS[3], CALLS[2], CALLS[1]], [CALLS[0]]]
    assert (await query.records("acct_a", 4, "")).next_page_token == ""


async def test_too_large_a_page_is_refused(query: UsageQuery) -> None:
    with pytest.raises(HeadgateError) as refused:
        await query.records("acct_a", 201, "")
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_REQUEST, "page_size")


@pytest.mark.parametrize(
    "token", ["x", "äöü", "bm8=", "OjE=", "YWJjOmMx", "LTU6YzE=", "A" * 9_000, "MTpub3QtYW4taWQ="]
)
async def test_a_foreign_page_token_is_refused(query: UsageQuery, token: str) -> None:
    with pytest.raises(HeadgateError) as refused:
        await query.records("acct_a", 3, token)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_REQUEST, "page_token")


async def test_what_is_no_call_id_names_no_call(query: UsageQuery) -> None:
    assert (await query.record_of("acct_a", CALLS[0])).settlements
    assert not (await query.record_of("acct_a", "not-an-id")).settlements
    assert not (await query.record_of("acct_a", CALLS[0].upper())).settlements
