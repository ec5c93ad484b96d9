"""The ledger's tables and how their rows become what the domain works on."""

from msgspec.structs import asdict, astuple
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import UUID

from headgate_metering.booking import DayKey
from headgate_metering.usage_event import (
    Adjustment,
    Call,
    DeadLetter,
    Ending,
    OpenCall,
    Outcome,
    Quantities,
    Settlement,
    Usage,
)

METADATA = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _key(name: str) -> Column[str]:
    # By code point on every engine, so that all sort alike.
    return Column(name, Text().with_variant(Text(collation="C"), "postgresql"), primary_key=True)


def _call_id() -> Column[str]:
    return Column("call_id", Text().with_variant(UUID(as_uuid=False), "postgresql"), primary_key=True)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _call_columns() -> list[Column[str] | Column[int]]:
    return [
        _call_id(),
        _text("account_id"),
        _text("principal_id"),
        _text("request_id"),
        _text("trace_id"),
        _text("endpoint"),
        _text("requested_model"),
        _text("price_version"),
        _number("started_at_ms"),
        _text("producer_id"),
        _number("seq"),
    ]


def _quantity_columns() -> list[Column[int]]:
    return [
        _number("input_tokens"),
        _number("output_tokens"),
        _number("cached_input_tokens"),
        _number("reasoning_tokens"),
    ]


def _ending_columns() -> list[Column[str] | Column[int] | Column[bool]]:
    return [
        Column("outcome", Integer, nullable=False),
        _text("model"),
        _text("provider"),
        Column("estimated", Boolean, nullable=False),
        _number("latency_ms"),
        _number("first_token_ms"),
        Column("attempts", Integer, nullable=False),
        _text("error_reason"),
    ]


# Clustered on call_id: UUIDv7 ids arrive in order, so rows are appended and the key needs no second tree.
LEDGER = Table(
    "usage_ledger",
    METADATA,
    *_call_columns(),
    *_ending_columns(),
    *_quantity_columns(),
    _number("cost_nano_usd"),
    Column("swept", Boolean, nullable=False),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (call_id)",  # its parts: partitions.py
)
Index("usage_ledger_newest", LEDGER.c.account_id, LEDGER.c.started_at_ms, LEDGER.c.call_id)

OPEN_CALLS = Table(
    "open_calls",
    METADATA,
    *_call_columns(),
    _text("model"),
    _text("provider"),
    Column("price", LargeBinary),
    _number("worst_case_nano_usd"),
    *_quantity_columns(),
    _number("progress_seq"),
    sqlite_with_rowid=False,
)
Index("open_calls_producer", OPEN_CALLS.c.producer_id)

# `outcome` 0: the correction says nothing of how the call ended.
ADJUSTMENTS = Table(
    "adjustments",
    METADATA,
    _call_id(),
    _key("source"),
    *_quantity_columns(),
    _number("cost_nano_usd"),
    *_ending_columns(),
    sqlite_with_rowid=False,
)

USAGE_DAILY = Table(
    "usage_daily",
    METADATA,
    _key("account_id"),
    Column("day", Integer, primary_key=True),
    _key("requested_model"),
    _number("requests"),
    *_quantity_columns(),
    _number("cost_nano_usd"),
    sqlite_with_rowid=False,
)

PRODUCERS = Table("producers", METADATA, _key("producer_id"), _number("beats"))

DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    _key("digest"),
    _text("producer_id"),
    _text("reason"),
    Column("payload", LargeBinary, nullable=False),
)

Values = dict[str, object]
AnyRow = Row[tuple[object, ...]]
_NO_ENDING = Ending(Outcome.UNSPECIFIED, "", "")


def settlement_row(settlement: Settlement) -> tuple[object, ...]:
    """The row of a settlement, in the order of the columns. Whole numbers for yes and no: SQLite's driver takes
    2 µs to find out what a bool is."""
    ending = settlement.ending
    return (
        *astuple(settlement.call),
        ending.outcome,
        ending.model,
        ending.provider,
        int(ending.estimated),
        ending.latency_ms,
        ending.first_token_ms,
        ending.attempts,
        ending.error_reason,
        *astuple(settlement.quantities),
        settlement.cost_nano_usd,
        int(settlement.swept),
    )


def settlement_of(row: AnyRow) -> Settlement:
    """The settlement of a row."""
    return Settlement(_call(row), _ending(row), _quantities(row), row.cost_nano_usd, row.swept)


def open_call_values(open_call: OpenCall) -> Values:
    """The row of an open call."""
    return {
        **asdict(open_call.call),
        **asdict(open_call.progress),
        "model": open_call.model,
        "provider": open_call.provider,
        "price": open_call.price,
        "worst_case_nano_usd": open_call.worst_case_nano_usd,
        "progress_seq": open_call.progress_seq,
    }


def open_call_of(row: AnyRow) -> OpenCall:
    """The open call of a row."""
    return OpenCall(
        call=_call(row),
        model=row.model,
        provider=row.provider,
        price=row.price,
        worst_case_nano_usd=row.worst_case_nano_usd,
        progress=_quantities(row),
        progress_seq=row.progress_seq,
    )


def adjustment_values(adjustment: Adjustment) -> Values:
    """The row of an adjustment."""
    return {
        "call_id": adjustment.call_id,
        "source": adjustment.source,
        **asdict(adjustment.quantities),
        "cost_nano_usd": adjustment.cost_nano_usd,
        **asdict(adjustment.ending or _NO_ENDING),
    }


def adjustment_of(row: AnyRow) -> Adjustment:
    """The adjustment of a row."""
    ending = _ending(row) if row.outcome else None
    return Adjustment(row.call_id, row.source, _quantities(row), row.cost_nano_usd, ending)


def daily_row(key: DayKey, usage: Usage) -> tuple[object, ...]:
    """The row that adds `usage` to a line of the daily sums, in the order of the columns."""
    return (*astuple(key), usage.requests, *astuple(usage.quantities), usage.cost_nano_usd)


def letter_values(letter: DeadLetter) -> Values:
    """The row of a dead letter."""
    return {
        "digest": letter.digest,
        "producer_id": letter.producer_id,
        "reason": letter.reason,
        "payload": letter.payload,
    }


def letter_of(row: AnyRow) -> DeadLetter:
    """The dead letter of a row."""
    return DeadLetter(row.digest, row.payload, row.reason, row.producer_id)


def _call(row: AnyRow) -> Call:
    return Call(**{name: getattr(row, name) for name in Call.__struct_fields__})


def _ending(row: AnyRow) -> Ending:
    return Ending(
        outcome=row.outcome,
        model=row.model,
        provider=row.provider,
        estimated=row.estimated,
        latency_ms=row.latency_ms,
        first_token_ms=row.first_token_ms,
        attempts=row.attempts,
        error_reason=row.error_reason,
    )


def _quantities(row: AnyRow) -> Quantities:
    return Quantities(row.input_tokens, row.output_tokens, row.cached_input_tokens, row.reasoning_tokens)
