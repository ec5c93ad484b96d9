"""Vectors of texts seen lately, so that a second question about a document is quick. Kept apart by account:
how long a reply takes must tell nobody what others have sent."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from headgate_inference.local.worker import Steps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = Sequence[npt.NDArray[np.floating]]

T = TypeVar("T", str, tuple[str, ...])


class VectorCache:
    """The vectors used last, up to `size` bytes of them, by account and digest of the text. For one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, bytes], Rows] = OrderedDict()
        self._bytes = 0

    def look_up(
        self, account_id: str, texts: Sequence[T], compute: "Callable[[Sequence[T]], Steps[Sequence[Rows]]]"
    ) -> "Steps[list[Rows]]":
        """Steps to what `compute` gives for each text; it is asked for those not seen lately, each once."""
        keys = [(account_id, _digest(text)) for text in texts]
        known = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            known.update(zip(missing, (yield from compute(list(missing.values()))), strict=True))
        for key, rows in known.items():
            self._keep(key, rows)
        return [known[key] for key in keys]

    def _keep(self, key: tuple[str, bytes], rows: "Rows") -> None:
        if key not in self._kept:
            self._bytes += _bytes(rows)
        self._kept[key] = rows
        self._kept.move_to_end(key)
        while self._bytes > self._size:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])


def _digest(text: str | tuple[str, ...]) -> bytes:
    # The repr of a text and of a passage of one text differ, as their vectors do.
    return hashlib.blake2b(repr(text).encode(), digest_size=16).digest()


def _bytes(rows: "Rows") -> int:
    return sum(row.nbytes for row in rows)
