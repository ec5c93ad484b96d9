"""The ledger's months on PostgreSQL: a partition for each, made before its first call (decisions.md 6). Call ids
are UUIDv7, whose first 48 bits are the time, so a month is a range of ids. A call of a month that has no partition
goes to the default one: nothing is ever refused for its date."""

import structlog
from sqlalchemy import DDL, Connection
from sqlalchemy.exc import IntegrityError

from headgate_metering.stores.ledger_tables import LEDGER
from headgate_metering.usage import Period, month_of

log = structlog.get_logger()

MONTHS_AHEAD = 3

_MAKE_DEFAULT = f"CREATE TABLE {LEDGER.name}_other PARTITION OF {LEDGER.name} DEFAULT"
DEFAULT = DDL(_MAKE_DEFAULT).execute_if(dialect="postgresql")  # type: ignore[no-untyped-call]


def make_partitions(connection: Connection, now_ms: int) -> None:
    """Make the partitions of this month and of the next ones that are not there yet."""
    month = month_of(now_ms)
    for _ in range(1 + MONTHS_AHEAD):
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(_partition(month))
        except IntegrityError:  # calls of that month are in the default partition already, and stay there
            log.warning("a month of the ledger stays in the default partition", month=_name(month))
        month = month_of(month.end_ms)


def _partition(month: Period) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {_name(month)} PARTITION OF {LEDGER.name}"
        f" FOR VALUES FROM ('{_first_id(month.start_ms)}') TO ('{_first_id(month.end_ms)}')"
    )


def _name(month: Period) -> str:
    return f"{LEDGER.name}_{month.start.year:04}_{month.start.month:02}"


def _first_id(at_ms: int) -> str:
    time = f"{at_ms:012x}"
    return f"{time[:8]}-{time[8:]}-0000-0000-000000000000"
