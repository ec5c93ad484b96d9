"""The built-in chat model `local-extractive`: it answers and summarises with sentences of the text in the
request, and says so when none fits."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.local import conversation
from headgate_inference.local.conversation import Task, Turn
from headgate_inference.local.minilm import MiniLm
from headgate_inference.local.reading import CachedReader
from headgate_inference.local.vectors import VectorCache
from headgate_inference.local.worker import Steps
from headgate_rpc.errors import HeadgateError, Reason

if TYPE_CHECKING:
    from headgate_inference.local.engine import Engine

CONTEXT_LENGTH = 131_072
"""Most word pieces of a conversation."""

# White space and very long words take no or few word pieces, but time.
_CHARACTERS = 16 * CONTEXT_LENGTH

NO_TEXT = (
    "I am local-extractive: I write no text of my own, I answer and summarise with sentences from the text in "
    "this conversation. There is none yet. Send a document together with your question."
)
NOTHING_FITS = "I can only answer from text in this conversation, and nothing there answers that."

# Runs of blank lines cost no tokens, yet every pattern would stop at each.
_BLANK = re.compile(r"\n\s*\n")

_ROLES = {
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
    pb.ROLE_FUNCTION: "tool",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the reply, a sentence; all pieces with single spaces between them are the whole reply."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of the reply: `stop`, or `length` when max_tokens cut it. Tokens are MiniLM word pieces."""

    finish_reason: str
    input_tokens: int
    output_tokens: int


class LocalExtractive:
    """Chat over `minilm`, with whose weights and thread it works."""

    def __init__(self, minilm: MiniLm, cache_bytes: int = 32 * 2**20) -> None:
        """The vectors of a document of 5 pages take some 3 MB of the cache."""
        self._minilm = minilm
        self._cache = VectorCache(cache_bytes)

    async def answer(self, account_id: str, spec: pb.GenerationSpec) -> AsyncIterator[Said | Ended]:
        """The reply, sentence by sentence, then its end. Sampling fields are ignored. Raises
        UNSUPPORTED_PARAMETER for what this model cannot do, CONTEXT_LENGTH_EXCEEDED over 131,072 word
        pieces, and what `MiniLm` raises."""
        check(spec)
        turns = [_turn(message) for message in spec.messages]
        limit = spec.max_completion_tokens or spec.max_tokens or CONTEXT_LENGTH
        reply, end = await self._minilm.run(lambda engine: self._reply(engine, account_id, turns, limit))
        for piece in reply:
            yield piece
        yield end

    def _reply(
        self, engine: "Engine", account_id: str, turns: Sequence[Turn], limit: int
    ) -> Steps[tuple[list[Said], Ended]]:
        input_tokens = yield from _count(engine, turns)
        task = conversation.read(turns, own_notices=(NO_TEXT, NOTHING_FITS))
        yield
        sentences = yield from self._sentences(engine, account_id, task)
        reply, finish_reason = _within(engine, sentences, limit)
        return reply, Ended(finish_reason, input_tokens, sum(piece.tokens for piece in reply))

    def _sentences(self, engine: "Engine", account_id: str, task: Task) -> Steps[list[str]]:
        if not task.material:
            return [NO_TEXT]
        # Here, because it needs numpy, which came with the engine.
        from headgate_inference.local.extracts import extract  # noqa: PLC0415

        reader = CachedReader(engine, self._cache, account_id)
        return (yield from extract(task, reader)) or [NOTHING_FITS]


def check(spec: pb.GenerationSpec) -> None:
    """Raises UNSUPPORTED_PARAMETER, naming the field, when `spec` asks for what this model cannot do."""
    if spec.tools:
        raise _unsupported("tools", "It cannot call tools.")
    if spec.response_format.type not in ("", "text"):
        raise _unsupported("response_format", "It answers in plain text only.")
    if spec.n > 1:
        raise _unsupported("n", "It has one answer only.")
    for index, message in enumerate(spec.messages):
        for place, part in enumerate(message.parts):
            if part.WhichOneof("part") != "text":
                raise _unsupported(f"messages[{index}].content[{place}]", "It reads text only.")


def _unsupported(field: str, problem: str) -> HeadgateError:
    return HeadgateError(
        Reason.UNSUPPORTED_PARAMETER, f"local-extractive does not support '{field}'. {problem}", field=field
    )


def _turn(message: pb.Message) -> Turn:
    text = "\n\n".join(part.text for part in message.parts) if message.parts else message.text
    return Turn(_ROLES.get(message.role, "system"), _BLANK.sub("\n\n", text))


def _count(engine: "Engine", turns: Sequence[Turn]) -> Steps[int]:
    total = 0
    too_long = sum(len(turn.text) for turn in turns) > _CHARACTERS
    for turn in turns:
        total += 0 if too_long else len(engine.pieces(turn.text, CONTEXT_LENGTH - total))
        if too_long or total > CONTEXT_LENGTH:
            raise HeadgateError(
                Reason.CONTEXT_LENGTH_EXCEEDED,
                f"The messages are longer than the {CONTEXT_LENGTH} word pieces this model reads.",
                field="messages",
            )
        yield
    return total


def _within(engine: "Engine", sentences: Sequence[str], limit: int) -> tuple[list[Said], str]:
    """The sentences up to `limit` word pieces, the last one cut, and the finish reason."""
    reply: list[Said] = []
    for sentence in sentences:
        pieces = engine.count(sentence)
        if pieces > limit:
            if limit:
                reply.append(Said(engine.head(sentence, limit), limit))
            return reply, "length"
        reply.append(Said(sentence, pieces))
        limit -= pieces
    return reply, "stop"
