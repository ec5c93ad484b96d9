"""`local-extractive` quotes the request, counts its tokens, says when nothing fits, and refuses what it cannot do."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio
from tokenizers import Tokenizer

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.local.conversation import Task, Want
from headgate_inference.local.engine import Engine
from headgate_inference.local.extractive import NO_TEXT, NOTHING_FITS, Ended, LocalExtractive, Said
from headgate_inference.local.extracts import extract
from headgate_inference.local.minilm import MiniLm
from headgate_inference.local.reading import CachedReader
from headgate_inference.local.vectors import VectorCache
from headgate_inference.local.weights import installed_folder
from headgate_inference.local.worker import Steps
from headgate_rpc.errors import HeadgateError, Reason

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = (
    "The lighthouse at Skarn was built in 1871 by the harbour company. Its first keeper was Maren Holt, who lived "
    "there with her two sons.\n\nThe lamp burned whale oil until 1923, when electric light was put in. On clear nights "
    "it can be seen for nineteen miles.\n\nSince 1988 nobody has lived in the tower. It is open to visitors on Sundays, "
    "and tickets cost four euros."
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minilm() -> AsyncIterator[MiniLm]:
    minilm = MiniLm()
    yield minilm
    await minilm.close()


@pytest.fixture(scope="module")
def model(minilm: MiniLm) -> LocalExtractive:
    return LocalExtractive(minilm)


def spec_of(*messages: tuple["pb.Role.ValueType", str]) -> pb.GenerationSpec:
    return pb.GenerationSpec(
        model="local-extractive", messages=[pb.Message(role=role, text=text) for role, text in messages]
    )


async def reply(model: LocalExtractive, spec: pb.GenerationSpec) -> tuple[list[str], Ended]:
    pieces = [piece async for piece in model.answer("acc_1", spec)]
    end = pieces.pop()
    assert isinstance(end, Ended)
    said = [piece for piece in pieces if isinstance(piece, Said)]
    assert end.output_tokens == sum(piece.tokens for piece in said)
    return [piece.text for piece in said], end


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was it built?", "1871"),
        ("Who was the first keeper?", "Maren Holt"),
        ("How far away can the light be seen?", "nineteen miles"),
        ("How much is a ticket?", "four euros"),
    ],
)
async def test_it_quotes_the_sentence_that_answers(
    model: LocalExtractive, question: str, answer: str
) -> None:
    sentences, end = await reply(model, spec_of((pb.ROLE_SYSTEM, DOCUMENT), (pb.ROLE_USER, question)))
    assert answer in " ".join(sentences[:3])
    assert all(sentence in DOCUMENT for sentence in sentences)
    assert end.finish_reason == "stop"


async def test_what_stands_around_a_question_belongs_to_it(model: LocalExtractive) -> None:
    question = "My uncle wants to know about the lamp. What did it burn?"
    sentences, _ = await reply(model, spec_of((pb.ROLE_SYSTEM, DOCUMENT), (pb.ROLE_USER, question)))
    assert "whale oil" in sentences[0]


async def test_text_parts_are_read_like_text(model: LocalExtractive) -> None:
    message = pb.Message(role=pb.ROLE_USER)
    message.parts.add(text=DOCUMENT)
    message.parts.add(text="Who was the first keeper?")
    sentences, _ = await reply(model, pb.GenerationSpec(messages=[message]))
    assert "Maren Holt" in sentences[0]


async def test_a_summary_quotes_in_order(model: LocalExtractive) -> None:
    sentences, _ = await reply(model, spec_of((pb.ROLE_USER, f"Summarise in 3 sentences:\n\n{DOCUMENT}")))
    places = [DOCUMENT.index(sentence) for sentence in sentences]
    assert len(places) == 3
    assert places == sorted(places)


async def test_it_says_so_when_nothing_fits(model: LocalExtractive) -> None:
    question = (pb.ROLE_USER, "How do I install a printer driver?")
    assert (await reply(model, spec_of((pb.ROLE_SYSTEM, DOCUMENT), question)))[0] == [NOTHING_FITS]


@pytest.mark.parametrize("text", ["", "Hello!", "What is the capital of France?"])
async def test_without_any_text_it_says_what_it_is(model: LocalExtractive, text: str) -> None:
    assert (await reply(model, spec_of((pb.ROLE_USER, text))))[0] == [NO_TEXT]


async def test_its_own_notices_are_no_text_to_answer_from(model: LocalExtractive) -> None:
    turns = [(pb.ROLE_USER, "Hi"), (pb.ROLE_ASSISTANT, NO_TEXT), (pb.ROLE_USER, "What can I send you?")]
    assert (await reply(model, spec_of(*turns)))[0] == [NO_TEXT]


async def test_max_tokens_cuts_the_reply_and_says_so(model: LocalExtractive) -> None:
    spec = spec_of((pb.ROLE_SYSTEM, DOCUMENT), (pb.ROLE_USER, "When was it built?"))
    whole, _ = await reply(model, spec)
    spec.max_tokens = 7
    cut, end = await reply(model, spec)
    assert (end.finish_reason, end.output_tokens) == ("length", 7)
    assert " ".join(whole).startswith(" ".join(cut))


async def test_input_tokens_are_those_of_all_messages(model: LocalExtractive) -> None:
    # hello, world, "!" and hello
    _, end = await reply(model, spec_of((pb.ROLE_SYSTEM, "Hello world!"), (pb.ROLE_USER, "hello")))
    assert end.input_tokens == 4


async def test_sampling_fields_are_ignored(model: LocalExtractive) -> None:
    spec = spec_of((pb.ROLE_SYSTEM, DOCUMENT), (pb.ROLE_USER, "When was it built?"))
    plain = await reply(model, spec)
    spec.sampling.temperature, spec.sampling.seed, spec.n = 1.7, 3, 1
    spec.response_format.type = "text"
    assert await reply(model, spec) == plain


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (pb.GenerationSpec(tools=[pb.Tool(name="f")]), "tools"),
        (pb.GenerationSpec(response_format=pb.ResponseFormat(type="json_object")), "response_format"),
        (pb.GenerationSpec(response_format=pb.ResponseFormat(type="json_schema")), "response_format"),
        (pb.GenerationSpec(n=2), "n"),
        *(
            (pb.GenerationSpec(messages=[pb.Message(), pb.Message(parts=[part])]), "messages[1].content[0]")
            for part in (
                pb.ContentPart(image=pb.ImagePart(url="https://example.com/a.png")),
                pb.ContentPart(audio=pb.AudioPart(format="wav")),
                pb.ContentPart(file=pb.FilePart(file_id="f")),
                pb.ContentPart(other_json=b"{}"),
            )
        ),
    ],
)
async def test_what_it_cannot_do_is_refused_by_name(
    model: LocalExtractive, spec: pb.GenerationSpec, field: str
) -> None:
    with pytest.raises(HeadgateError) as caught:
        await reply(model, spec)
    assert (caught.value.reason, caught.value.field) == (Reason.UNSUPPORTED_PARAMETER, field)


@pytest.mark.parametrize("text", ["word " * 131_073, "x" * 2_200_000], ids=["word pieces", "characters"])
async def test_a_conversation_over_the_context_length_is_refused(model: LocalExtractive, text: str) -> None:
    with pytest.raises(HeadgateError) as caught:
        await reply(model, spec_of((pb.ROLE_USER, text)))
    assert (caught.value.reason, caught.value.field) == (Reason.CONTEXT_LENGTH_EXCEEDED, "messages")


async def test_vectors_are_shared_within_an_account_and_never_between_two() -> None:
    computed: list[str] = []

    def compute(texts: Sequence[str]) -> Steps[list[list[npt.NDArray[np.floating]]]]:
        computed.extend(texts)
        yield
        return [[np.full(2, ord(text), np.float32)] for text in texts]

    def read(account: str, *texts: str) -> str:
        steps = cache.look_up(account, texts, compute)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return "".join(chr(int(rows[0][0])) for rows in end.value)

    cache = VectorCache(size=3 * 8)
    assert read("one", "a", "b", "a") == "aba"
    assert read("one", "b", "a") == "ba"
    assert computed == ["a", "b"]
    assert read("two", "a") == "a"
    assert computed == ["a", "b", "a"]
    read("two", "c", "d")
    read("one", "a")
    assert computed == ["a", "b", "a", "c", "d", "a"]


class CountingSession:
    """Finds all texts alike, and counts them."""

    def __init__(self) -> None:
        self.rows = 0

    def run(
        self, outputs: list[str], feed: dict[str, npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.float32]]:
        rows, width = feed["ids"].shape
        self.rows += rows
        return [np.ones((rows, width, 384) if outputs == ["tokens"] else (rows, 384), np.float32)]


async def test_a_second_question_about_a_document_reads_only_the_question() -> None:
    session = CountingSession()
    tokenizer = Tokenizer.from_file(str(installed_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    reader = CachedReader(Engine(session, tokenizer), VectorCache(2**20), "acc_1")

    def rows_read(question: str) -> int:
        before = session.rows
        for _ in extract(Task(Want.ANSWER, question, (DOCUMENT,)), reader):
            pass
        return session.rows - before

    sentences, paragraphs = 6, 3
    assert rows_read("When was it built?") == 2 + sentences + paragraphs
    assert rows_read("How much is a ticket?") == 2
