"""Canonical replies of models that run in this process, from the texts they say."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.adapters.base import Batch


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the reply; all pieces joined are the whole."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """How the reply ended, and the tokens of the call."""

    finish_reason: str
    input_tokens: int
    output_tokens: int


Speech = AsyncIterator[Piece | End]
"""Pieces, then one end. Raises HeadgateError."""


async def whole(speech: Speech, choices: int) -> pb.GenerateResponse:
    """The reply of a whole speech, the same in each of `choices`."""
    texts: list[str] = []
    reply = pb.GenerateResponse()
    async for said in speech:
        if isinstance(said, Piece):
            texts.append(said.text)
            continue
        for index in range(choices):
            choice = reply.choices.add(index=index, finish_reason=said.finish_reason)
            choice.message.role = pb.ROLE_ASSISTANT
            choice.message.text = "".join(texts)
        reply.usage.CopyFrom(_usage(said, choices))
    return reply


class SpokenStream:
    """A speech as a stream, one piece at a time. See EventStream."""

    def __init__(self, speech: Speech, choices: int) -> None:
        self.id = ""
        self.created = 0
        self.usage: pb.Usage | None = None
        self.usage_extra = b""
        self.finish_reasons: list[str] = []
        self.complete = False
        self._speech = speech
        self._choices = range(choices)
        self._begun = False

    async def read(self) -> Batch | None:
        """The next piece, or the end."""
        if self.complete:
            return None
        said = await anext(self._speech)
        events = []
        if not self._begun:
            self._begun = True
            events.append(
                self._event([pb.ChoiceDelta(role=pb.ROLE_ASSISTANT, text="") for _ in self._choices])
            )
        if isinstance(said, Piece):
            events.append(self._event([pb.ChoiceDelta(text=said.text) for _ in self._choices]))
            return Batch(events, len(self._choices))
        self.complete = True
        self.usage = _usage(said, len(self._choices))
        self.finish_reasons = [said.finish_reason for _ in self._choices]
        events.append(self._event([pb.ChoiceDelta(finish_reason=said.finish_reason) for _ in self._choices]))
        return Batch(events, 0)

    def close(self) -> None:
        """Nothing runs between two reads."""

    @staticmethod
    def _event(deltas: Sequence[pb.ChoiceDelta]) -> pb.StreamEvent:
        for index, delta in enumerate(deltas):
            delta.index = index
        return pb.StreamEvent(choices=deltas)


def _usage(end: End, choices: int) -> pb.Usage:
    return pb.Usage(input_tokens=end.input_tokens, output_tokens=end.output_tokens * choices)
