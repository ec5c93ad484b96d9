"""How texts are cut to what the model can read: slices for the tokenizer, windows of word pieces, batches."""

from collections.abc import Iterator, Sequence

WINDOW = 254
"""Word pieces read at once: 256 places, less [CLS] and [SEP]."""

MAX_PIECES = 8192
"""Most word pieces of one embedding input."""

VOCABULARY = 30_522
"""Number of word pieces the model knows; ids count from 0."""

_BATCH_ROWS = 8
_BATCH_PLACES = 1024
_SLICE = 16_384


def slices(text: str) -> Iterator[str]:
    """Pieces of `text` cut at white space, so that tokenizing them one by one changes nothing. Only a run of
    16,384 characters without white space is cut elsewhere."""
    start = 0
    while start < len(text):
        end = min(start + _SLICE, len(text))
        if end < len(text):
            end = _last_space(text, start, end)
        yield text[start:end]
        start = end


def _last_space(text: str, start: int, end: int) -> int:
    for index in range(end - 1, start, -1):
        if text[index].isspace():
            return index
    return end


def windows(pieces: Sequence[int]) -> list[Sequence[int]]:
    """The word pieces in runs of at most 254, at least one run."""
    return [pieces[start : start + WINDOW] for start in range(0, max(len(pieces), 1), WINDOW)]


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in groups of like length, longest first, so that little is padded: at most 8 rows and about
    1,024 places, which bounds memory and the time of one step."""
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) == _BATCH_ROWS or (len(batch) + 1) * longest > _BATCH_PLACES):
            yield batch
            batch = []
        if not batch:
            longest = lengths[index] + 2
        batch.append(index)
    if batch:
        yield batch
