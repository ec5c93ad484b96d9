"""Secrets that are made once and kept in the data folder, readable by their owner alone."""

import os
from collections.abc import Callable
from pathlib import Path

from headgate_settings.environment import SettingsError
from headgate_settings.secret import Secret


def kept_secret(path: Path, make: Callable[[], Secret]) -> Secret:
    """What the file holds; made and written when there is no file. Raises SettingsError."""
    try:
        return _read(path)
    except FileNotFoundError:
        _write(path, make())
        return _read(path)
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}."]) from None


def _read(path: Path) -> Secret:
    text = path.read_text().strip()
    if not text:
        raise SettingsError([f"{path} is empty; delete it to have a new one made."])
    return Secret(text)


def _write(path: Path, secret: Secret) -> None:
    """Whole or not at all, and never over a file that another process has made meanwhile."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secret.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        finally:
            draft.unlink()
    except OSError as error:
        raise SettingsError([f"{path} cannot be written: {error.strerror}."]) from None
