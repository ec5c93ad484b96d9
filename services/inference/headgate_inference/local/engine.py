"""MiniLM itself: word pieces in, vectors out, one step at a time. Imports the model runtime (some 60 MB), so
it is imported on first use of a local model and not before."""

from collections.abc import Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from tokenizers import Tokenizer

from headgate_inference.local import graph
from headgate_inference.local.weights import WeightFiles
from headgate_inference.local.windows import MAX_PIECES, batches, slices, windows
from headgate_inference.local.worker import Steps
from headgate_settings.process import prefer

# Looked at once, when the library is loaded, and sooner than its disable_telemetry_events() can be called: without it
# every process that uses a local model keeps an id below $HOME and reports to the library's maker.
prefer("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # noqa: E402

Matrix = npt.NDArray[np.float32]
Half = npt.NDArray[np.float16]

_CLS, _SEP = 101, 102


class Session(Protocol):
    """The part of onnxruntime.InferenceSession that is used."""

    def run(self, outputs: list[str], feed: dict[str, npt.NDArray[np.int64]]) -> list[Matrix]: ...


class Engine:
    """One loaded model. Not for two threads at once."""

    def __init__(self, session: Session, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer

    def pieces(self, text: str, limit: int) -> list[int]:
        """The word pieces of `text`; stops soon after `limit`, so more than `limit` means "too long"."""
        found: list[int] = []
        for part in slices(text):
            found.extend(self._tokenizer.encode(part, add_special_tokens=False).ids)
            if len(found) > limit:
                break
        return found

    def count(self, text: str) -> int:
        """Number of word pieces of `text`."""
        return sum(len(self._tokenizer.encode(part, add_special_tokens=False).ids) for part in slices(text))

    def head(self, text: str, pieces: int) -> str:
        """The longest start of `text` with at most `pieces` word pieces."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= pieces else text[: offsets[pieces - 1][1]]

    def embed_texts(self, texts: Sequence[str]) -> Steps[Matrix]:
        """Steps to the vectors [len(texts), 384] of texts of any length."""
        return self.embed([self.pieces(text, MAX_PIECES)[:MAX_PIECES] for text in texts])

    def embed(self, inputs: Sequence[Sequence[int]]) -> Steps[Matrix]:
        """Steps to the vectors [len(inputs), 384], each of length 1. An input of over 254 pieces gets the
        mean of its windows, weighted by their length."""
        cut = [windows(pieces) for pieces in inputs]
        owners = [owner for owner, runs in enumerate(cut) for _ in runs]
        rows = [run for runs in cut for run in runs]
        vectors = yield from self._outputs("vectors", rows)
        sums = np.zeros((len(inputs), graph.WIDTH), dtype=np.float32)
        for owner, row, vector in zip(owners, rows, vectors, strict=True):
            sums[owner] += max(len(row), 1) * vector
        lengths: Matrix = np.linalg.norm(sums, axis=1, keepdims=True)
        return sums / lengths

    def read(self, passages: Sequence[Sequence[str]]) -> Steps[list[list[Half]]]:
        """Steps to the vectors of the word pieces of each part of each passage, [pieces, 384], each of length
        1: what a word means where it stands, since the parts of a passage are read together (254 pieces at
        once). A part without word pieces gets one vector of zeros."""
        parts = [[self.pieces(part, MAX_PIECES) for part in passage] for passage in passages]
        cut = [windows(list(chain.from_iterable(passage))) for passage in parts]
        found = iter((yield from self._outputs("tokens", [run for runs in cut for run in runs])))
        read = []
        for passage, runs in zip(parts, cut, strict=True):
            whole = np.concatenate([next(found)[1 : len(run) + 1] for run in runs])
            whole /= np.linalg.norm(whole, axis=1, keepdims=True)
            ends = list(accumulate(map(len, passage)))
            read.append([_half(rows) for rows in np.split(whole, ends[:-1])])
        return read

    @staticmethod
    def shortest(vector: Matrix) -> list[float]:
        """The components [dim], each as the shortest decimal that still names its float32 value."""
        return [float(digits) for digits in vector.astype(str)]

    def _outputs(self, name: str, rows: Sequence[Sequence[int]]) -> Steps[list[Matrix]]:
        """Steps to one output of the graph for each row of at most 254 pieces."""
        found: dict[int, Matrix] = {}
        for batch in batches([len(row) for row in rows]):
            found.update(zip(batch, self._forward(name, [rows[index] for index in batch]), strict=True))
            yield
        return [found[index] for index in range(len(rows))]

    def _forward(self, name: str, rows: Sequence[Sequence[int]]) -> Matrix:
        width = max(len(row) for row in rows) + 2
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row) + 2] = (_CLS, *row, _SEP)
            mask[index, : len(row) + 2] = 1
        return self._session.run([name], {"ids": ids, "mask": mask})[0]


def _half(rows: Matrix) -> Half:
    """A copy in half the bytes, so that keeping a part does not keep the batch it was read in."""
    return rows.astype(np.float16) if len(rows) else np.zeros((1, graph.WIDTH), np.float16)


def load(files: WeightFiles) -> Engine:
    """The model of these files; takes about a second and 160 MB."""
    tokenizer = Tokenizer.from_file(str(files.tokenizer))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model, constants = graph.build(_tensors(files.tensors))
    options = onnxruntime.SessionOptions()
    # One core per local model: requests run beside each other, and the machine has other work.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_external_initializers(
        list(constants), [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in constants.values()]
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Engine(session, tokenizer)


def _tensors(path: Path) -> graph.Tensors:
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
