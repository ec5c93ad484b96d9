"""Where a store's file lies, readable by its owner alone."""

import os
from pathlib import Path

from headgate_database.errors import StoreError

_SQLITE = "sqlite:///"


def sqlite_path(location: str | Path) -> Path:
    """The file of a location: a path, or a URL `sqlite:///path`. Raises StoreError for another URL."""
    text = str(location)
    if text.startswith(_SQLITE):
        return Path(text.removeprefix(_SQLITE))
    if "://" in text:
        kind = text.partition("://")[0]
        raise StoreError(f"Databases of the kind '{kind}' are not supported; use a path or sqlite:///path.")
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
