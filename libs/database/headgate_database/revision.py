"""Which shape a store has: a fresh one is made from metadata and stamped; alembic is loaded only for an old
one, since its import costs more than opening the store."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from headgate_database.errors import StoreError

# The table alembic itself keeps.
_STAMP = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


@dataclass(frozen=True, slots=True)
class Revision:
    """The shape that this program knows: `head` is the last of the alembic scripts in `scripts`."""

    metadata: MetaData
    head: str
    scripts: Path | None


def settle(connection: Connection, revision: Revision, name: str) -> None:
    """Brings the store to `revision`, inside the connection's transaction.

    Raises StoreError when it has tables without a stamp, or a stamp that is unknown here.
    """
    stamp = stamp_of(connection, name)
    if stamp is None:
        revision.metadata.create_all(connection)
        _STAMP.create(connection)
        connection.execute(_STAMP.insert().values(version_num=revision.head))
    elif stamp != revision.head and revision.scripts is None:
        raise unknown_stamp(name, stamp, revision)
    elif stamp != revision.head:
        # Only an old store pays for alembic's import.
        from headgate_database.migration import upgrade  # noqa: PLC0415

        upgrade(connection, revision, stamp, name)


def stamp_of(connection: Connection, name: str) -> str | None:
    """The revision of the store, None for a fresh one. Raises StoreError when it has tables without a stamp."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if _STAMP.name not in tables:
        raise StoreError(f"{name} is not a store of this program: it has tables but no revision.")
    return connection.execute(select(_STAMP.c.version_num)).scalar_one_or_none() or ""


def unknown_stamp(name: str, stamp: str, revision: Revision) -> StoreError:
    """The refusal of a store that a newer program made."""
    return StoreError(
        f"{name} has revision '{stamp}', this program knows up to '{revision.head}'; "
        "use the program that made it."
    )
