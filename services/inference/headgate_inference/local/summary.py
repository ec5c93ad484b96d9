"""Chooses the sentences that stand for a text. Pure arithmetic over strings and vectors; imports numpy, so it
is imported on first use of a local model."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from headgate_inference.local.lexical import stems
from headgate_inference.local.ranking import Matrix, Scores
from headgate_inference.local.sentences import Sentence


def central(sentences: Sequence[Sentence], vectors: Matrix, length: int | None) -> list[int]:
    """Indices, ascending, of the sentences that stand for the text: the most central ones (continuous LexRank,
    Erkan and Radev 2004), a little more for those that open it, none that says again what another said."""
    size = length or min(max(round(len(sentences) ** 0.5 / 1.5), 3), 7)
    likeness = np.clip(vectors @ vectors.T, 0, None).astype(np.float64)
    weight = _stationary(likeness) * len(sentences)
    weight += [0.3 / (1 + sentence.paragraph) for sentence in sentences]
    weight *= [_substance(sentence) for sentence in sentences]
    chosen: list[int] = []
    while len(chosen) < min(size, len(sentences)):
        best = int(np.argmax(weight))
        chosen.append(best)
        # What is like a chosen sentence adds less (maximal marginal relevance, Carbonell and Goldstein 1998).
        weight -= 0.7 * likeness[best]
        weight[best] = -np.inf
    return sorted(chosen)


def typical(sentences: Sequence[Sentence]) -> Scores:
    """How common the words of each sentence are in the whole text, [len(sentences)]; what a summary is chosen
    from when there is too much to compare everything."""
    rows = [stems(sentence.text) for sentence in sentences]
    counts = Counter(stem for row in rows for stem in set(row))
    return np.array([sum(counts[stem] for stem in set(row)) / (len(row) + 5) for row in rows])


def _stationary(likeness: Scores) -> Scores:
    """Where a reader ends up who goes from sentence to sentence by likeness, with 15 % of jumps."""
    size = len(likeness)
    steps = likeness / likeness.sum(axis=1, keepdims=True)
    weight = np.full(size, 1 / size)
    for _ in range(30):
        weight = 0.15 / size + 0.85 * (weight @ steps)
    return weight


def _substance(sentence: Sentence) -> float:
    """Full for a sentence of at least 8 words, less for fragments, little for questions."""
    return min(len(sentence.text.split()) / 8, 1.0) * (0.3 if sentence.asks else 1.0)
