"""The tables of auth."""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, String, Table

METADATA = MetaData()

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ip_allow_list", JSON, nullable=False),
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("account_id", String(40), ForeignKey(ACCOUNTS.c.id), nullable=False),
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
