"""Model servers on this machine: which answer, and what they offer (decisions.md 27)."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection

from headgate_registry.entries import Entries, Source
from headgate_settings.config import DeploymentConfig, ModelConfig, ProviderConfig

PORTS = (11434, 8080, 8000, 1234)
_MISSES = 3
_MOST_MODELS = 500
_ID = re.compile(r"[^\s@,]{1,256}")

Probe = Callable[[int], Awaitable[list[str] | None]]
"""Asks the loopback server at a port for its model ids; None when no model server answers."""


class Discovery:
    """Remembers what was found. A model stays until it was missing in three scans in a row: a server that is
    busy loading a model answers late, and must not make the list flicker."""

    def __init__(self, probe: Probe, own_ports: Collection[int] = ()) -> None:
        self._probe = probe
        self._ports = tuple(port for port in PORTS if port not in own_ports)
        self._misses: dict[int, dict[str, int]] = {port: {} for port in self._ports}

    async def scan(self) -> bool:
        """Ask every port once, all at the same time; True when the entries are other ones now."""
        before = self.entries()
        answers = await asyncio.gather(*(self._probe(port) for port in self._ports))
        for port, found in zip(self._ports, answers, strict=True):
            self._note(port, found or [])
        return self.entries() != before

    def entries(self) -> Entries:
        """What is there now; a model that two servers offer is the first one's."""
        here = [port for port in self._ports if self._misses[port]]
        models: dict[str, ModelConfig] = {}
        for port in here:
            for id in self._misses[port]:
                models.setdefault(id, _model(id, port))
        return Entries(Source.DISCOVERED, tuple(_provider(port) for port in here), tuple(models.values()))

    def _note(self, port: int, found: list[str]) -> None:
        present = dict.fromkeys((id for id in found[:_MOST_MODELS] if _ID.fullmatch(id)), 0)
        missing = {id: misses + 1 for id, misses in self._misses[port].items() if id not in present}
        kept = {id: misses for id, misses in missing.items() if misses < _MISSES}
        self._misses[port] = dict(sorted((present | kept).items()))


def _provider(port: int) -> ProviderConfig:
    return ProviderConfig(_name(port), "openai", f"http://127.0.0.1:{port}/v1")


def _model(id: str, port: int) -> ModelConfig:
    embedding = "embed" in id.lower()
    return ModelConfig(
        id=id,
        deployments=(DeploymentConfig(_name(port), id),),
        type="embedding" if embedding else "text",
        capabilities=("embedding",) if embedding else ("chat",),
    )


def _name(port: int) -> str:
    return f"discovered-{port}"
