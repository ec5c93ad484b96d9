"""How `local-extractive` reads: texts to vectors, those it has lately read for the same account from memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headgate_inference.local.vectors import VectorCache
from headgate_inference.local.worker import Steps

if TYPE_CHECKING:
    from headgate_inference.local.engine import Engine, Half, Matrix


@dataclass(frozen=True, slots=True)
class CachedReader:
    """Reads with `engine` for one account."""

    engine: "Engine"
    cache: VectorCache
    account_id: str

    def vectors(self, texts: Sequence[str]) -> "Steps[list[Matrix]]":
        """Steps to one vector [dim] of length 1 for each text."""
        found = yield from self.cache.look_up(self.account_id, texts, self._vectors)
        return [rows[0] for rows in found]

    def words(self, passages: Sequence[tuple[str, ...]]) -> "Steps[list[Sequence[Half]]]":
        """Steps to the vectors [pieces, dim] of each part of each passage, read in its context."""
        return (yield from self.cache.look_up(self.account_id, passages, self.engine.read))

    def _vectors(self, texts: Sequence[str]) -> "Steps[list[list[Matrix]]]":
        rows = yield from self.engine.embed_texts(texts)
        return [[row.copy()] for row in rows]
