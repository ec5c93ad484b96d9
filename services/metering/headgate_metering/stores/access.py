"""Reads and writes whose failures say what they mean: a database that cannot do its work now is away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from headgate_database import Database, StoreAwayError

log = structlog.get_logger()

T = TypeVar("T")


async def read(database: Database, function: Callable[[Connection], T]) -> T:
    """`Database.read`. Raises StoreAwayError also for a file that is locked, full or unreadable."""
    with _away_when_unable():
        return await database.read(function)


async def write(database: Database, function: Callable[[Connection], T]) -> T:
    """`Database.write`, likewise."""
    with _away_when_unable():
        return await database.write(function)


@contextmanager
def _away_when_unable() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        log.warning("database unable", error=" ".join(str(error.orig).split()))
        raise StoreAwayError from error
