"""From a conversation to the sentences of the reply: splits, prefers by words, compares by vectors, chooses.
Imports numpy, so it is imported on first use of a local model."""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

import numpy as np

from headgate_inference.local import ranking
from headgate_inference.local.conversation import Task, Want
from headgate_inference.local.passages import Passage, passages
from headgate_inference.local.ranking import Matrix, Scores
from headgate_inference.local.sentences import Sentence, split
from headgate_inference.local.summary import central, typical
from headgate_inference.local.worker import Steps


class Reader(Protocol):
    """Turns text into vectors of length 1."""

    def vectors(self, texts: Sequence[str]) -> Steps[list[Matrix]]:
        """Steps to one vector [dim] for each text."""
        ...

    def words(self, passages: Sequence[Passage]) -> Steps[list[Sequence[Matrix]]]:
        """Steps to the vectors [pieces, dim] of the words of each part of each passage, as meant there."""
        ...


def extract(task: Task, reader: Reader) -> Steps[list[str]]:
    """The sentences of the reply, in its order; none when nothing in the material fits."""
    sentences = _distinct(task.material)
    yield
    if not sentences:
        return []
    if task.want is Want.SUMMARY:
        return (yield from _summary(task, sentences, reader))
    return (yield from _answer(task, sentences, reader))


def _answer(task: Task, sentences: list[Sentence], reader: Reader) -> Steps[list[str]]:
    words = ranking.lexical(task.question, sentences)
    read = ranking.shortlist(words.own + 0.5 * words.around, sentences)
    near = [sentences[index] for index in read]
    yield
    (question,), *parts = yield from reader.words([(task.question,), *passages(near)])
    spoken = list(chain.from_iterable(sentences for _, *sentences in parts))
    echoes = ranking.echo(question, spoken, near)
    if not ranking.is_about(echoes):
        return []
    promises = ranking.promise(task.question, near, words.own[read], echoes)
    compared = ranking.finalists(promises)
    near = [near[index] for index in compared]
    asked, *vectors = yield from reader.vectors([task.question, *map(_with_heading, near)])
    similar = (np.stack(vectors) @ asked).astype(np.float64)
    chosen = ranking.answers(near, promises[compared], similar)
    return [near[index].text for index in chosen]


def _with_heading(sentence: Sentence) -> str:
    return f"{sentence.heading}: {sentence.text}" if sentence.heading else sentence.text


def _summary(task: Task, sentences: list[Sentence], reader: Reader) -> Steps[list[str]]:
    weights: Scores = typical(sentences)
    near = [sentences[index] for index in ranking.shortlist(weights, sentences)]
    yield
    vectors = yield from reader.vectors([sentence.text for sentence in near])
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
