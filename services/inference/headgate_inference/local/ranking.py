"""Chooses the sentences that answer a question or stand for a text. Pure arithmetic over strings and vectors;
imports numpy, so it is imported on first use of a local model.

The weights were chosen on 720 questions about 16 encyclopedia articles (SQuAD 2.0, development part), of
which 90 % had their answer in the first three sentences; neither is part of this repository."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate_inference.local import cues
from headgate_inference.local.lexical import bm25, stems
from headgate_inference.local.sentences import Sentence

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

_REPLY = 3
_COMPARED, _CHARACTERS = 160, 32_000
"""Most that is compared by vectors, at some 8 ms a sentence. Of 720 questions 0.4 % lost their answer to it."""
_WORTH = 0.7
"""Least score, as a share of the best one's, of a second or third sentence."""

_FITS = 0.36
"""Least similarity, plus a little for shared words, at which a sentence counts as an answer: refuses five
of six questions about another article and one of 300 about the article itself."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """What words say about each sentence: its BM25 score, and that of its paragraph with heading."""

    own: Scores
    around: Scores

    def only(self, indices: Sequence[int]) -> "Lexical":
        """The scores of these sentences."""
        return Lexical(self.own[indices], self.around[indices])


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosine of the question with each sentence and with the heading it stands under (0 without one)."""

    own: Scores
    heading: Scores


def lexical(question: str, sentences: Sequence[Sentence]) -> Lexical:
    """The word scores [len(sentences)] of all sentences."""
    query = stems(question)
    rows = [stems(sentence.text) for sentence in sentences]
    paragraphs: dict[int, list[str]] = {}
    for sentence, row in zip(sentences, rows, strict=True):
        paragraphs.setdefault(sentence.paragraph, stems(sentence.heading)).extend(row)
    scores = dict(zip(paragraphs, bm25(query, list(paragraphs.values())), strict=True))
    around = [scores[sentence.paragraph] for sentence in sentences]
    return Lexical(np.array(bm25(query, rows)), np.array(around))


def shortlist(weights: Scores, sentences: Sequence[Sentence]) -> list[int]:
    """Indices, ascending, of the sentences of most weight that there is time to compare; of equal ones those
    that open a paragraph."""
    place: Counter[int] = Counter()
    order = []
    for index, sentence in enumerate(sentences):
        order.append((-weights[index], place[sentence.paragraph], index))
        place[sentence.paragraph] += 1
    chosen: list[int] = []
    characters = 0
    for _, _, index in sorted(order)[:_COMPARED]:
        characters += len(sentences[index].text)
        if chosen and characters > _CHARACTERS:
            break
        chosen.append(index)
    return sorted(chosen)


def answers(question: str, sentences: Sequence[Sentence], words: Lexical, likeness: Likeness) -> list[int]:
    """Indices of the sentences that answer, best first, at most three; none when nothing fits."""
    similar = likeness.own
    cue = np.array(cues.fits(question, [sentence.text for sentence in sentences]))
    score = (
        similar
        + 0.3 * words.own
        + 0.2 * cue
        + 0.3 * words.around
        + 0.5 * _paragraph_best(sentences, likeness)
    )
    evidence = np.maximum(similar, 0.9 * likeness.heading) + 0.15 * words.own
    # A question in the text announces an answer, it is none.
    score[[sentence.asks for sentence in sentences]] = -1
    if not len(score) or evidence.max() < _FITS:
        return []
    best = [int(index) for index in np.argsort(-score, kind="stable")[:_REPLY]]
    return [index for index in best if score[index] >= _WORTH * score[best[0]]]


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


def _paragraph_best(sentences: Sequence[Sentence], likeness: Likeness) -> Scores:
    best: dict[int, float] = {}
    both = np.maximum(likeness.own, likeness.heading)
    for sentence, value in zip(sentences, both, strict=True):
        best[sentence.paragraph] = max(best.get(sentence.paragraph, 0.0), value)
    return np.array([best[sentence.paragraph] for sentence in sentences])


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
