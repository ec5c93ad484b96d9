"""Text that compares in the same way on every engine."""

from sqlalchemy import String


def identifier(length: int) -> String:
    """The type of ids and names that are sorted or ranged over: ordered by code point, as SQLite and Python do,
    whatever language the PostgreSQL database speaks."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")
