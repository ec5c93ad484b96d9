"""Chooses the sentences that answer a question. Pure arithmetic over strings and vectors; imports numpy, so it
is imported on first use of a local model.

The weights were chosen on questions about encyclopedia articles (SQuAD 2.0, development part) and on 60
paraphrasing ones about a staff handbook, a travel guide and an article; none is part of this repository."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headgate_inference.local import cues
from headgate_inference.local.lexical import bm25, stems
from headgate_inference.local.sentences import Sentence

Matrix = npt.NDArray[np.floating]
Scores = npt.NDArray[np.float64]

_REPLY = 3
_READ, _CHARACTERS = 160, 32_000
"""Most that is read by the model, at some 5 ms a sentence. Of 720 questions 0.4 % lost their answer to it."""
_COMPARED = 40
"""Sentences of most promise whose whole meaning is compared too; more changed no answer."""
_WORTH = 0.7
"""Least score, as a share of the best one's, of a second or third sentence."""

_FITS = 0.34
"""Least echo of the question at which something in the text counts as an answer: refuses four of five questions
about another text and one of 75 paraphrasing ones about the text itself."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """What words say about each sentence: its BM25 score, and that of its paragraph with heading."""

    own: Scores
    around: Scores


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
    """Indices, ascending, of the sentences of most weight that there is time to read; of equal ones those
    that open a paragraph."""
    place: Counter[int] = Counter()
    order = []
    for index, sentence in enumerate(sentences):
        order.append((-weights[index], place[sentence.paragraph], index))
        place[sentence.paragraph] += 1
    chosen: list[int] = []
    characters = 0
    for _, _, index in sorted(order)[:_READ]:
        characters += len(sentences[index].text)
        if chosen and characters > _CHARACTERS:
            break
        chosen.append(index)
    return sorted(chosen)


def echo(question: Matrix, words: Sequence[Matrix], sentences: Sequence[Sentence]) -> Scores:
    """How well each sentence echoes the words [pieces, dim] of the question: the mean over them of the likest
    word (late interaction, Khattab and Zaharia 2020, ColBERT), of the sentence alone and, because it may go on
    about what the one before it named, of both."""
    asked = question.astype(np.float32)
    alone = [(asked @ rows.astype(np.float32).T).max(axis=1) for rows in words]
    both = [
        np.maximum(one, before) if sentence.paragraph == previous.paragraph else one
        for sentence, previous, one, before in zip(
            sentences, [sentences[0], *sentences], alone, [alone[0], *alone], strict=False
        )
    ]
    return np.array([(one.mean() + other.mean()) / 2 for one, other in zip(alone, both, strict=True)])


def promise(question: str, sentences: Sequence[Sentence], words: Scores, echoes: Scores) -> Scores:
    """What words alone say, [len(sentences)]; -1 for a question in the text, which announces an answer but is
    none. `words` are the BM25 scores: what the model knows little of (names, numbers) counts through them."""
    cue = np.array(cues.fits(question, [sentence.text for sentence in sentences]))
    asks = [sentence.asks for sentence in sentences]
    return np.where(asks, -1.0, echoes + 0.1 * words + 0.1 * cue)


def finalists(promises: Scores) -> list[int]:
    """Indices, ascending, of the sentences of most promise."""
    return sorted(int(index) for index in np.argsort(-promises, kind="stable")[:_COMPARED])


def is_about(echoes: Scores) -> bool:
    """Whether anything in the text is about what the question asks."""
    return bool(echoes.max() >= _FITS)


def answers(sentences: Sequence[Sentence], promises: Scores, similar: Scores) -> list[int]:
    """Indices of the sentences that answer, best first, at most three. `similar` is the cosine of the question
    with each sentence."""
    if promises.max() < 0:
        return []
    score = promises + 0.25 * similar
    score += 0.3 * _paragraph_best(sentences, score)
    best = [int(index) for index in np.argsort(-score, kind="stable")[:_REPLY]]
    return [index for index in best if score[index] >= _WORTH * score[best[0]]]


def _paragraph_best(sentences: Sequence[Sentence], score: Scores) -> Scores:
    best: dict[int, float] = {}
    for sentence, value in zip(sentences, score, strict=True):
        best[sentence.paragraph] = max(best.get(sentence.paragraph, 0.0), value)
    return np.array([best[sentence.paragraph] for sentence in sentences])
