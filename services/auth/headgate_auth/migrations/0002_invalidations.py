"""The log of what must be forgotten, which replicas share."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """An empty log."""
    end = op.create_table(
        "invalidations_end",
        sa.Column("epoch", sa.String(32), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "invalidations",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(80), nullable=False),
    )
    op.bulk_insert(end, [{"epoch": uuid.uuid4().hex, "version": 1}])
