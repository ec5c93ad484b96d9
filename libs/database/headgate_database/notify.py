"""Tells other processes that something was committed; `listener.py` is the other end."""

from sqlalchemy import Connection, func, select


def notify(connection: Connection, channel: str) -> None:
    """Wakes those who listen to `channel` once this transaction is committed. On SQLite there is nobody."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(channel, "")))
