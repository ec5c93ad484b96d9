"""The `mock` provider: fixed answers from this process, for load tests and examples. There only where it is
configured, and never as a fallback of anything.

The upstream id sets the stream: `mock-<pieces>-<delay ms>`; any other id answers ten words at once."""

import asyncio
import hashlib
import re

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference import sizes
from headgate_inference.adapters.base import Attempt
from headgate_inference.adapters.spoken import End, Piece, Speech, SpokenStream, whole

DIMENSIONS = 8
WORDS = ("This", " is", " a", " fixed", " answer", " of", " the", " mock", " provider", ".")

_SHAPE = re.compile(r"mock-(\d{1,6})-(\d{1,6})")


class MockAdapter:
    """Answers everything with the same words. See Adapter."""

    async def generate(self, attempt: Attempt, spec: pb.GenerationSpec) -> pb.GenerateResponse:
        """The words, whole."""
        return await whole(_speak(attempt, spec), spec.n or 1)

    async def stream(self, attempt: Attempt, spec: pb.GenerationSpec) -> SpokenStream:
        """The words, one at a time."""
        return SpokenStream(_speak(attempt, spec), spec.n or 1)

    async def embed(self, attempt: Attempt, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """Vectors of 8 numbers between -1 and 1 that depend on the input alone."""
        reply = pb.EmbedResponse()
        inputs = [text.encode() for text in request.texts] or [
            repr(each.ids).encode() for each in request.tokens
        ]
        for data in inputs:
            digest = hashlib.sha256(data).digest()[:DIMENSIONS]
            reply.embeddings.add(values=[byte / 127.5 - 1 for byte in digest])
        reply.usage.input_tokens = sizes.tokens(sizes.input_bytes(request))
        return reply


async def _speak(attempt: Attempt, spec: pb.GenerationSpec) -> Speech:
    shape = _SHAPE.fullmatch(attempt.upstream_id)
    wanted, delay_ms = (int(shape[1]), int(shape[2])) if shape else (len(WORDS), 0)
    limit = spec.max_completion_tokens or spec.max_tokens or wanted
    for place in range(min(wanted, limit)):
        await asyncio.sleep(delay_ms / 1000)
        yield Piece(WORDS[place % len(WORDS)])
    written = min(wanted, limit)
    read = sizes.tokens(sizes.prompt_bytes(spec))
    yield End("stop" if wanted <= limit else "length", read, written)
