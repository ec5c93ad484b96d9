"""What an operator is told, in one line each, when a process cannot serve."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from headgate_settings import SettingsError
from headgate_settings.config import ConfigError


class CannotServe(Exception):
    """A service cannot use what it was given; the message is one line."""


def fail(*lines: str) -> NoReturn:
    """Say what is wrong and leave."""
    for line in lines:
        print(f"headgate: {line}", file=sys.stderr)  # noqa: T201 - for the person who started the process
    raise SystemExit(1)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Faults of an operator's making end the process with a line each on standard error and exit status 1."""
    try:
        yield
    except (SettingsError, ConfigError) as error:
        fail(*error.problems)
    except CannotServe as error:
        fail(str(error))
    except OSError as error:
        fail(error.strerror or str(error))
