"""The one place for SQL engines: one writer with grouped commits, a few readers, a stamped schema."""

# PostgreSQL's `insert` knows `on_conflict_do_update` and `on_conflict_do_nothing`; SQLite's compiler understands it.
from sqlalchemy.dialects.postgresql import insert

from headgate_database.database import TIMEOUT_S, Database
from headgate_database.errors import OutcomeUnknownError, StoreAwayError, StoreError
from headgate_database.location import Location, private_file, shared_or_own
from headgate_database.notify import notify
from headgate_database.text import identifier
from headgate_database.writer import Writer

__all__ = [
    "TIMEOUT_S",
    "Database",
    "Location",
    "OutcomeUnknownError",
    "StoreAwayError",
    "StoreError",
    "Writer",
    "identifier",
    "insert",
    "notify",
    "private_file",
    "shared_or_own",
]
