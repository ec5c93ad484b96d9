"""The first shape, which fresh stores are made in."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """There is nothing before it."""
