"""Where a store's file lies, readable by its owner alone."""

import os
from pathlib import Path

from headgate_database.errors import StoreError
from headgate_settings import Secret

# A URL may hold a password, so it travels as a Secret.
Location = str | Path | Secret

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def postgres_url(location: Location) -> Secret | None:
    """The location if it is a PostgreSQL URL."""
    text = _text(location)
    return Secret(text) if text.startswith(_POSTGRES) else None


def shared_or_own(url: Secret, file: Path) -> Location:
    """Where a service keeps a store: in the database that all share, HEADGATE_DATABASE_URL, or else in a file of
    its own. Raises StoreError when that is not PostgreSQL: other databases know no schemas."""
    if not url:
        return file
    if postgres_url(url) is None:
        raise StoreError("HEADGATE_DATABASE_URL is not a URL of PostgreSQL, postgresql://….")
    return url


def _text(location: Location) -> str:
    return location.reveal() if isinstance(location, Secret) else str(location)


def sqlite_path(location: Location) -> Path:
    """The file of a location: a path, or a URL `sqlite:///path`. Raises StoreError for another URL."""
    text = _text(location)
    if text.startswith(_SQLITE):
        return Path(text.removeprefix(_SQLITE))
    if "://" in text:
        kind = text.partition("://")[0]
        raise StoreError(f"Databases of the kind '{kind}' are not supported; use postgresql://… or a path.")
    return Path(text)


def private_file(path: Path) -> bool:
    """Makes an empty file of mode 0600, and its folder with mode 0700; says whether it was missing.

    Raises StoreError when the place cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}.") from None
    return True
