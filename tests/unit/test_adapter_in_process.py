"""Models that run in this process: the mock, and what the local models refuse."""

import subprocess
import sys

import pytest

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.base import Attempt, Batch, EventStream, Model
from headgate_inference.adapters.local import LocalAdapter
from headgate_inference.adapters.mock import MockAdapter
from headgate_inference.faults import AttemptFault
from headgate_money import FLAT, Rates
from headgate_rpc.errors import Reason
from headgate_testing.data_plane import chat


def attempt(upstream_id: str, *, drop_params: bool = False) -> Attempt:
    model = Model("m", False, 0, 0, drop_params, frozenset({"top_k"}), FLAT, Rates.of(FLAT))
    return Attempt(model, upstream_id, "acct", None, {}, 1e9, 1e9)


async def batches(stream: EventStream) -> list[Batch]:
    found = []
    while (batch := await stream.read()) is not None:
        found.append(batch)
    return found


async def test_the_mock_says_the_same_whole_and_streamed() -> None:
    reply = await MockAdapter().generate(attempt("mock"), chat("m"))
    assert reply.choices[0].message.text == "This is a fixed answer of the mock provider."
    stream = await MockAdapter().stream(attempt("mock"), chat("m"))
    found = await batches(stream)
    text = "".join(c.text for batch in found for event in batch.events for c in event.choices)
    assert text == reply.choices[0].message.text
    assert sum(batch.units for batch in found) == 10
    assert stream.usage == reply.usage
    assert (stream.complete, stream.finish_reasons) == (True, ["stop"])


@pytest.mark.parametrize(
    ("upstream_id", "limit", "tokens", "reason"),
    [("mock-25-0", 0, 25, "stop"), ("mock-25-0", 4, 4, "length")],
)
async def test_the_mocks_length_is_its_upstream_id_up_to_max_tokens(
    upstream_id: str, limit: int, tokens: int, reason: str
) -> None:
    spec = chat("m", max_tokens=limit) if limit else chat("m")
    stream = await MockAdapter().stream(attempt(upstream_id), spec)
    assert sum(batch.units for batch in await batches(stream)) == tokens
    assert stream.finish_reasons == [reason]
    assert stream.usage is not None
    assert stream.usage.output_tokens == tokens


async def test_mock_vectors_depend_on_the_input_alone() -> None:
    request = pb.EmbedRequest(texts=["a", "b", "a"])
    vectors = [list(each.values) for each in (await MockAdapter().embed(attempt("m"), request)).embeddings]
    assert [len(vector) for vector in vectors] == [8, 8, 8]
    assert vectors[0] == vectors[2] != vectors[1]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (chat("m", extra_json=b'{"web_search":{}}'), "web_search"),
        (chat("m", sampling=pb.Sampling(logprobs=True)), "logprobs"),
    ],
)
async def test_local_models_refuse_what_their_card_does_not_name(spec: pb.GenerationSpec, field: str) -> None:
    with pytest.raises(AttemptFault) as caught:
        await LocalAdapter().stream(attempt("local-extractive"), spec)
    assert (caught.value.error.reason, caught.value.error.field) == (Reason.UNSUPPORTED_PARAMETER, field)
    assert not caught.value.retryable


async def test_local_models_accept_what_their_card_names() -> None:
    spec = chat("m", extra_json=b'{"top_k":1,"user":"u"}', sampling=pb.Sampling(temperature=0.3))
    await LocalAdapter().stream(attempt("local-extractive"), spec)
    spec = chat("m", extra_json=b'{"anything":1}')
    await LocalAdapter().stream(attempt("local-extractive", drop_params=True), spec)


def test_nothing_heavy_is_imported_before_a_local_model_is_asked() -> None:
    code = "import headgate_inference.app, sys; print(sorted({'numpy','onnxruntime','tokenizers','grpc'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "numpy" not in done.stdout
    assert "onnxruntime" not in done.stdout
