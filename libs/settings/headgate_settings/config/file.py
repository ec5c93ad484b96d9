"""The config file on disk: read once at start, read again when it changes."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from headgate_settings.config.problems import ConfigError
from headgate_settings.config.reader import parse_config
from headgate_settings.config.schema import Config

_log = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class ConfigFile:
    """A path that holds a config, or does not: an absent file is the empty config.

    A bad change keeps the old state and logs one line; the next change is looked at again.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self._environ = dict(environ)
        self._seen: _Stamp | None = None

    def read(self) -> Config:
        """The config as it is now. Raises ConfigError."""
        # The stamp comes first: a change while reading is then seen at the next check.
        self._seen = self._stamp()
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return Config(file=str(self.path))
        except OSError as error:
            raise ConfigError([f"{self.path}: cannot be read: {error.strerror}"]) from None
        return parse_config(content, str(self.path), self._environ)

    def check_once(self, on_change: Callable[[Config], None]) -> bool:
        """Hand the config to `on_change` when the file is another one than last time; True if it was taken.

        `on_change` may refuse it by raising ConfigError.
        """
        if self._stamp() == self._seen:
            return False
        try:
            on_change(self.read())
        except ConfigError as error:
            _log.warning("config not reloaded, the old one stays: %s", "; ".join(error.problems))
            return False
        return True

    async def watch(self, on_change: Callable[[Config], None], interval: float = 1.0) -> None:
        """Check for changes every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.check_once(on_change)

    def _stamp(self) -> _Stamp | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
