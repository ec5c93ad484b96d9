"""Vectors of sentences seen lately, so that a second question about a document is quick. Kept apart by account:
how long a reply takes must tell nobody what others have sent."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headgate_inference.local.worker import Steps

if TYPE_CHECKING:
    from headgate_inference.local.ranking import Matrix


class VectorCache:
    """The last `size` vectors (1.5 kB each) by account and digest of the text. For one thread."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._rows: OrderedDict[tuple[str, bytes], Matrix] = OrderedDict()

    def embed(
        self, account_id: str, texts: Sequence[str], compute: "Callable[[Sequence[str]], Steps[Matrix]]"
    ) -> "Steps[list[Matrix]]":
        """Steps to one vector [dim] per text; `compute` is asked for those not seen lately, each once."""
        keys = [(account_id, hashlib.blake2b(text.encode(), digest_size=16).digest()) for text in texts]
        known = {key: self._rows[key] for key in keys if key in self._rows}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            computed = yield from compute(list(missing.values()))
            known.update(zip(missing, computed, strict=True))
        for key in keys:
            self._rows[key] = known[key]
            self._rows.move_to_end(key)
        while len(self._rows) > self._size:
            self._rows.popitem(last=False)
        return [known[key] for key in keys]
