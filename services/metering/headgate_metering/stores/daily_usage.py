"""Sums by account, day and model, kept in the transaction that books the calls, so that a month is thirty lines
for each model and not its calls."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select

from headgate_database import insert
from headgate_metering.booking import DayKey
from headgate_metering.stores.dialects import Dialect
from headgate_metering.stores.ledger_tables import ADJUSTMENTS, LEDGER, USAGE_DAILY, AnyRow, daily_row
from headgate_metering.usage_event import DAY_MS, Quantities, Usage

_SUMS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "cost_nano_usd")


def add_usage(connection: Connection, dialect: Dialect, usage: Mapping[DayKey, Usage]) -> None:
    """Add to the daily sums, in the connection's transaction."""
    if usage:
        connection.exec_driver_sql(_add(dialect), [daily_row(key, each) for key, each in usage.items()])


@cache
def _add(dialect: Dialect) -> str:
    line = insert(USAGE_DAILY)
    key = [USAGE_DAILY.c.account_id, USAGE_DAILY.c.day, USAGE_DAILY.c.requested_model]
    sums = {name: USAGE_DAILY.c[name] + line.excluded[name] for name in ("requests", *_SUMS)}
    return dialect.compiled(line.on_conflict_do_update(index_elements=key, set_=sums))


def sum_usage(connection: Connection, account_id: str, start_ms: int, end_ms: int) -> dict[str, Usage]:
    """Sums by requested model over `[start_ms, end_ms)`: whole days from the daily sums, the ragged ends from
    the calls."""
    sums: dict[str, Usage] = {}
    for query in _queries(account_id, start_ms, end_ms):
        for row in connection.execute(query):
            sums[row.requested_model] = sums.get(row.requested_model, Usage()) + _usage(row)
    return sums


def _queries(account_id: str, start_ms: int, end_ms: int) -> Iterator[Select[tuple[object, ...]]]:
    first_day, last_day = -(-start_ms // DAY_MS), end_ms // DAY_MS
    if first_day >= last_day:
        yield from _by_call(account_id, start_ms, end_ms)
        return
    yield _by_day(account_id, first_day, last_day)
    if start_ms < first_day * DAY_MS:
        yield from _by_call(account_id, start_ms, first_day * DAY_MS)
    if last_day * DAY_MS < end_ms:
        yield from _by_call(account_id, last_day * DAY_MS, end_ms)


def _by_day(account_id: str, first: int, last: int) -> Select[tuple[object, ...]]:
    sums = [func.sum(USAGE_DAILY.c[name]).label(name) for name in ("requests", *_SUMS)]
    return (
        select(USAGE_DAILY.c.requested_model, *sums)
        .where(USAGE_DAILY.c.account_id == account_id, USAGE_DAILY.c.day >= first, USAGE_DAILY.c.day < last)
        .group_by(USAGE_DAILY.c.requested_model)
    )


def _by_call(account_id: str, start_ms: int, end_ms: int) -> Iterator[Select[tuple[object, ...]]]:
    mine = (
        LEDGER.c.account_id == account_id,
        LEDGER.c.started_at_ms >= start_ms,
        LEDGER.c.started_at_ms < end_ms,
    )
    yield _grouped(func.count(), LEDGER, mine).select_from(LEDGER)
    joined = LEDGER.join(ADJUSTMENTS, ADJUSTMENTS.c.call_id == LEDGER.c.call_id)
    # A correction is no further request.
    yield _grouped(func.count() * 0, ADJUSTMENTS, mine).select_from(joined)


def _grouped(
    requests: ColumnElement[int],
    table: Table,
    where: Iterable[ColumnElement[bool]],
) -> Select[tuple[object, ...]]:
    sums = [func.sum(table.c[name]).label(name) for name in _SUMS]
    return (
        select(LEDGER.c.requested_model, requests.label("requests"), *sums)
        .where(*where)
        .group_by(LEDGER.c.requested_model)
    )


def _usage(row: AnyRow) -> Usage:
    quantities = Quantities(
        int(row.input_tokens), int(row.output_tokens), int(row.cached_input_tokens), int(row.reasoning_tokens)
    )
    return Usage(int(row.requests), quantities, int(row.cost_nano_usd))
