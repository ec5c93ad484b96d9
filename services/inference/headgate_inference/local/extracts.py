"""From a conversation to the sentences of the reply: splits, prefers by words, compares by vectors, chooses.
Imports numpy, so it is imported on first use of a local model."""

from collections.abc import Callable, Sequence

import numpy as np

from headgate_inference.local.conversation import Task, Want
from headgate_inference.local.ranking import (
    Likeness,
    Matrix,
    Scores,
    answers,
    central,
    lexical,
    shortlist,
    typical,
)
from headgate_inference.local.sentences import Sentence, split
from headgate_inference.local.worker import Steps

Embed = Callable[[Sequence[str]], Steps[list[Matrix]]]
"""Texts to one vector [dim] each, of length 1."""


def extract(task: Task, embed: Embed) -> Steps[list[str]]:
    """The sentences of the reply, in its order; none when nothing in the material fits."""
    sentences = _distinct(task.material)
    yield
    if not sentences:
        return []
    if task.want is Want.SUMMARY:
        return (yield from _summary(task, sentences, embed))
    return (yield from _answer(task, sentences, embed))


def _answer(task: Task, sentences: list[Sentence], embed: Embed) -> Steps[list[str]]:
    words = lexical(task.question, sentences)
    compared = shortlist(words.own + 0.5 * words.around, sentences)
    yield
    near = [sentences[index] for index in compared]
    headings = sorted({sentence.heading for sentence in near if sentence.heading})
    question, *vectors = yield from embed([task.question, *headings, *(sentence.text for sentence in near)])
    similar = np.stack(vectors) @ question
    by_heading = dict(zip(headings, similar, strict=False))
    likeness = Likeness(
        own=similar[len(headings) :].astype(np.float64),
        heading=np.array([by_heading.get(sentence.heading, 0.0) for sentence in near]),
    )
    chosen = answers(task.question, near, words.only(compared), likeness)
    return [near[index].text for index in chosen]


def _summary(task: Task, sentences: list[Sentence], embed: Embed) -> Steps[list[str]]:
    weights: Scores = typical(sentences)
    near = [sentences[index] for index in shortlist(weights, sentences)]
    yield
    vectors = yield from embed([sentence.text for sentence in near])
    return [near[index].text for index in central(near, np.stack(vectors), task.length)]


def _distinct(material: Sequence[str]) -> list[Sentence]:
    """The sentences of all texts, each once, paragraphs numbered on from text to text."""
    found: dict[str, Sentence] = {}
    first = 0
    for text in material:
        sentences = split(text)
        for sentence in sentences:
            placed = Sentence(sentence.text, sentence.heading, sentence.paragraph + first)
            found.setdefault(sentence.text.casefold(), placed)
        first += 1 + max((sentence.paragraph for sentence in sentences), default=0)
    return list(found.values())
