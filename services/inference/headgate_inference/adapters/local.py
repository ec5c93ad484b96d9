"""The models that come with the suite. What they stand on is imported when they are first asked."""

from functools import cached_property
from typing import TYPE_CHECKING

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference import faults
from headgate_inference.adapters.base import Attempt
from headgate_inference.adapters.spoken import End, Piece, Speech, SpokenStream, whole
from headgate_inference.extras import spread

if TYPE_CHECKING:
    from headgate_inference.local.extractive import LocalExtractive
    from headgate_inference.local.minilm import MiniLm

# Labels for the provider's books, which have no influence on any answer.
_LABELS = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"})
_IGNORED_ANYWHERE = frozenset({"parallel_tool_calls"})


class LocalAdapter:
    """Runs `local-minilm` and `local-extractive`. See Adapter."""

    @cached_property
    def _minilm(self) -> "MiniLm":
        from headgate_inference.local.minilm import MiniLm  # noqa: PLC0415 - only where it is used

        return MiniLm()

    @cached_property
    def _extractive(self) -> "LocalExtractive":
        from headgate_inference.local.extractive import LocalExtractive  # noqa: PLC0415 - only where it is used

        return LocalExtractive(self._minilm)

    async def generate(self, attempt: Attempt, spec: pb.GenerationSpec) -> pb.GenerateResponse:
        """An extractive answer, whole."""
        _check(attempt, spec)
        return await whole(self._speak(attempt, spec), 1)

    async def stream(self, attempt: Attempt, spec: pb.GenerationSpec) -> SpokenStream:
        """An extractive answer, sentence by sentence."""
        _check(attempt, spec)
        return SpokenStream(self._speak(attempt, spec), 1)

    async def embed(self, attempt: Attempt, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """MiniLM vectors."""
        _check_extras(attempt, request.extra_json, frozenset())
        wanted = request.dimensions if request.HasField("dimensions") else None
        if request.texts:
            embedded = await self._minilm.embed(list(request.texts), wanted)
        else:
            embedded = await self._minilm.embed_tokens([list(each.ids) for each in request.tokens], wanted)
        reply = pb.EmbedResponse(embeddings=[pb.Embedding(values=vector) for vector in embedded.vectors])
        reply.usage.input_tokens = sum(embedded.token_counts)
        return reply

    async def close(self) -> None:
        """End the model's thread, if it was ever started."""
        if "_minilm" in self.__dict__:
            await self._minilm.close()

    async def _speak(self, attempt: Attempt, spec: pb.GenerationSpec) -> Speech:
        from headgate_inference.local.extractive import Said  # noqa: PLC0415 - only where it is used

        begun = False
        async for said in self._extractive.answer(attempt.account_id, spec):
            if isinstance(said, Said):
                yield Piece(f" {said.text}" if begun else said.text)
                begun = True
            else:
                yield End(said.finish_reason, said.input_tokens, said.output_tokens)


def _check(attempt: Attempt, spec: pb.GenerationSpec) -> None:
    """Refuse what the model's card does not say it accepts, unless the model is set to drop it."""
    if spec.sampling.logprobs and not attempt.model.drop_params:
        raise faults.not_offered("logprobs", attempt.model.id)
    _check_extras(attempt, spec.extra_json, _IGNORED_ANYWHERE)


def _check_extras(attempt: Attempt, extra_json: bytes, ignored: frozenset[str]) -> None:
    if attempt.model.drop_params or not extra_json:
        return
    for name in spread(extra_json, (), "extra_json"):
        if name not in ignored and name not in _LABELS and name not in attempt.model.ignored_params:
            raise faults.not_offered(name, attempt.model.id)
