"""Composition root of the registry."""

import asyncio
from collections.abc import Collection

from headgate_clock import Clock
from headgate_registry import price_data
from headgate_registry.builtin import BUILTIN
from headgate_registry.catalogue import merge
from headgate_registry.checks import check
from headgate_registry.discovery import Discovery, Probe
from headgate_registry.entries import Entries, entries_of_file
from headgate_registry.environment import entries_of_environment
from headgate_registry.messages import Writer
from headgate_registry.probe import probe as loopback_probe
from headgate_registry.servicer import RegistryServicer
from headgate_registry.settings import RegistrySettings
from headgate_settings.config import Config, ConfigFile

_SCAN_EVERY_S = 30.0


class RegistryApp:
    """The running registry: `servicer` serves, the rest keeps its catalogue up to date."""

    def __init__(
        self, config_file: ConfigFile, environment: Entries, discovery: Discovery | None, writer: Writer
    ) -> None:
        self.servicer = RegistryServicer()
        self._config_file = config_file
        self._environment = environment
        self._discovery = discovery
        self._writer = writer
        self._scanning: asyncio.Task[None] | None = None
        self.check(config_file.current)
        self.refresh()
        config_file.subscribe(self._on_config, check=self.check)

    def check(self, config: Config) -> None:
        """Raises ConfigError for names in `config` that stand for nothing, or for two things."""
        check(config, (self._environment, BUILTIN))

    def refresh(self) -> None:
        """Build the catalogue anew from all sources and publish what changed."""
        found = (self._discovery.entries(),) if self._discovery else ()
        sources = (entries_of_file(self._config_file.current), self._environment, *found, BUILTIN)
        self.servicer.replace(self._writer.items(merge(sources)))

    async def start(self) -> None:
        """Look once for model servers (≤ 200 ms), then go on looking every 30 s."""
        if self._discovery is not None:
            await self._scan(self._discovery)
            self._scanning = asyncio.create_task(self._scan_for_ever(self._discovery))

    async def stop(self) -> None:
        """End the looking."""
        if self._scanning is not None:
            self._scanning.cancel()
            await asyncio.gather(self._scanning, return_exceptions=True)

    def _on_config(self, config: Config) -> None:
        self.refresh()

    async def _scan(self, discovery: Discovery) -> None:
        if await discovery.scan():
            self.refresh()

    async def _scan_for_ever(self, discovery: Discovery) -> None:
        while True:
            await asyncio.sleep(_SCAN_EVERY_S)
            await self._scan(discovery)


def build(
    settings: RegistrySettings,
    config_file: ConfigFile,
    clock: Clock,
    *,
    own_ports: Collection[int] = (),
    probe: Probe = loopback_probe,
) -> RegistryApp:
    """The registry over `config_file`, which has been read. `own_ports` are the suite's own listeners.

    Raises ConfigError.
    """
    return RegistryApp(
        config_file,
        entries_of_environment(settings),
        Discovery(probe, own_ports) if settings.discovery == "on" else None,
        Writer(clock.wall_ms() // 1000, price_data.price_of),
    )
