"""The tables of auth."""

import uuid

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    event,
)

from headgate_database import identifier

METADATA = MetaData()

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("id", identifier(40), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ip_allow_list", JSON, nullable=False),
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", identifier(40), primary_key=True),
    Column("account_id", identifier(40), ForeignKey(ACCOUNTS.c.id), nullable=False),
    Column("name", String(100), nullable=False),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON, nullable=False),
    Column("plan_policy", String(64), nullable=False),
    Column("ip_allow_list", JSON, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("last_used_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger, nullable=False),
    Index("api_keys_by_account", "account_id", "created_at_ms"),
)

# One row: where the log ends. Whoever adds to the log changes it first and so holds its lock until the commit;
# that puts versions in the order of the commits.
LOG_END = Table(
    "invalidations_end",
    METADATA,
    Column("epoch", String(32), primary_key=True),
    Column("version", BigInteger, nullable=False),
)

INVALIDATIONS = Table(
    "invalidations",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(80), nullable=False),
)


@event.listens_for(LOG_END, "after_create")
def _begin_log(_: Table, connection: Connection, **__: object) -> None:
    connection.execute(LOG_END.insert().values(epoch=uuid.uuid4().hex, version=1))
