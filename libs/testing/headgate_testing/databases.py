"""Throw-away databases on a PostgreSQL server, and locations for the suites that every store passes."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from headgate_settings import environment

# What a suite of a store is parametrised over, beside "memory".
ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.servers)]

DEFAULT_SERVER = "postgresql://127.0.0.1:5432/postgres"


def postgres_server() -> str:
    """The server that tests use, HEADGATE_TEST_POSTGRES; its user may make databases."""
    return environment().get("HEADGATE_TEST_POSTGRES") or DEFAULT_SERVER


@contextmanager
def throw_away_database() -> Iterator[str]:
    """The URL of a database that is made now and dropped afterwards. It speaks English, so that whoever sorts by
    ids without saying how is found out."""
    name = f"headgate_test_{secrets.token_hex(6)}"
    _administer("CREATE DATABASE {} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'", name)
    try:
        yield urlsplit(postgres_server())._replace(path=f"/{name}").geturl()
    finally:
        _administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@contextmanager
def location(engine: str, folder: Path) -> Iterator[str]:
    """A place for one empty store on this engine: a file in the folder, or a throw-away database."""
    if engine == "sqlite":
        yield str(folder / "store.sqlite3")
    else:
        with throw_away_database() as url:
            yield url


def _administer(statement: str, name: str) -> None:
    with psycopg.connect(postgres_server(), autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
