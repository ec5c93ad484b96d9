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
_Handler = Callable[[Config], None]


class ConfigFile:
    """A path that holds a config, or does not: an absent file is the empty config.

    `current` is the last good one. A bad change keeps it and logs one line; the next change is looked at again.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.current = Config(file=str(path))
        self._environ = dict(environ)
        self._seen: _Stamp | None = None
        self._checks: list[_Handler] = []
        self._handlers: list[_Handler] = []

    def read(self) -> Config:
        """Read the file, make it the current config and return it. Raises ConfigError."""
        self.current = self._read()
        return self.current

    def subscribe(self, on_change: _Handler, *, check: _Handler | None = None) -> None:
        """Call `on_change` with each later config. `check` may refuse one by raising ConfigError: every check
        runs before the first `on_change`, so a config is taken by all or by none."""
        self._handlers.append(on_change)
        if check is not None:
            self._checks.append(check)

    def check_once(self) -> bool:
        """Look whether the file is another one than last time; True if its config was taken."""
        if self._stamp() == self._seen:
            return False
        try:
            config = self._read()
            for check in self._checks:
                check(config)
        except ConfigError as error:
            _log.warning("config not reloaded, the old one stays: %s", "; ".join(error.problems))
            return False
        self.current = config
        for on_change in self._handlers:
            on_change(config)
        return True

    async def watch(self, interval: float = 1.0) -> None:
        """Check for changes every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.check_once()

    def _read(self) -> Config:
        # The stamp comes first: a change while reading is then seen at the next check.
        self._seen = self._stamp()
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return Config(file=str(self.path))
        except OSError as error:
            raise ConfigError([f"{self.path}: cannot be read: {error.strerror}"]) from None
        return parse_config(content, str(self.path), self._environ)

    def _stamp(self) -> _Stamp | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
