"""The one place for SQL engines: one writer with grouped commits, a few readers, a stamped schema."""

from headgate_database.database import Database
from headgate_database.errors import StoreError
from headgate_database.location import private_file
from headgate_database.writer import Writer

__all__ = ["Database", "StoreError", "Writer", "private_file"]
