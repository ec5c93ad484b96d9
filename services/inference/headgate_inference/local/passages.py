"""Groups sentences to passages that the model reads at once, so that each is understood by its neighbours."""

from collections.abc import Sequence

from headgate_inference.local.sentences import Sentence

Passage = tuple[str, ...]
"""A heading (or an empty text) and the sentences below it."""

_CHARACTERS = 900
"""Some 225 word pieces of English, of the 254 that are read at once."""


def passages(sentences: Sequence[Sentence]) -> list[Passage]:
    """The sentences, in order: a passage for each paragraph, more for a long one."""
    found: list[Passage] = []
    paragraph, characters = -1, 0
    for sentence in sentences:
        characters += len(sentence.text)
        if found and sentence.paragraph == paragraph and characters <= _CHARACTERS:
            found[-1] += (sentence.text,)
            continue
        found.append((sentence.heading, sentence.text))
        paragraph, characters = sentence.paragraph, len(sentence.text)
    return found
