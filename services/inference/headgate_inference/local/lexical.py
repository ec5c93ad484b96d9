"""Which words a question and a sentence share: word stems and BM25 (Robertson and Zaragoza, 2009)."""

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*", re.UNICODE)


def words(listed: str) -> frozenset[str]:
    """The words of a list written as running text."""
    return frozenset(listed.split())


_STOP = words(
    "a an and any are as at be been being but by can could did do does for from had has have he her hers him his "
    "how i if in into is it its itself may me might must my no nor not of on one or our ours shall she should so "
    "some such than that the their theirs them then there these they this those to too under up upon us very was "
    "we were what when where which while who whom whose why will with would you your yours also about above after "
    "again all am because before below between both during each few further more most off once only other out over "
    "own same through until according please tell say says said document text passage article "
    "der die das und ist ein eine im den dem des zu mit von für auf wer wann wo wie warum "
    "le la les un une du de et est en que qui quand comment pourquoi dans pour sur"
)
# Longest first, since the first that fits is cut.
_ENDINGS = tuple(
    sorted(words("ations ation ments ment ings ing ied ies edly ed ers er es ly s"), key=len, reverse=True)
)
_K1, _B = 1.2, 0.6


def stems(text: str) -> list[str]:
    """The words of `text` that carry meaning, lower case, common English endings cut off."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP]


def _stem(word: str) -> str:
    if not word.isalpha():
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    # "capped" and "cap", "policies" and "policy" meet.
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word.rstrip("eiy") if len(word) > 3 else word


def bm25(query: Sequence[str], rows: Sequence[Sequence[str]]) -> list[float]:
    """The BM25 score of each row of stems for the query's stems, with 1 for a row of usual length that has
    each of them once; 0 where nothing is shared."""
    size = len(rows)
    mean = sum(map(len, rows)) / max(size, 1) or 1.0
    counts = [Counter(row) for row in rows]
    weights = {}
    for term in set(query):
        holding = sum(term in count for count in counts)
        weights[term] = math.log(1 + (size - holding + 0.5) / (holding + 0.5))
    whole = sum(weights.values()) or 1.0
    return [
        sum(
            weight / whole * count[term] * (_K1 + 1) / (count[term] + _K1 * (1 - _B + _B * len(row) / mean))
            for term, weight in weights.items()
            if term in count
        )
        for row, count in zip(rows, counts, strict=True)
    ]
