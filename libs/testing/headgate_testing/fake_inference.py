"""The services behind the gateway, scripted: a channel that answers each RPC with what a test says and remembers
what it was asked."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from headgate.inference.v1.inference_pb2 import (
    ROLE_ASSISTANT,
    CheckCallerResponse,
    Choice,
    ChoiceDelta,
    Embedding,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    StreamEvent,
    StreamGenerateResponse,
    StreamStart,
    Usage,
)
from headgate.inference.v1.inference_pb2 import Message as ChatMessage
from headgate_rpc.call import Method
from headgate_rpc.channel import NO_OPTIONS, Options, Reply

CREATED = 1677652288
LIMITS = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "95", "x-ratelimit-reset": "1640995200"}


@dataclass(slots=True)
class Asked:
    """One call as the channel got it: `cancelled` when it was ended from outside, `closed` when the reader of its
    stream has let go."""

    method: str
    request: Message
    metadata: Mapping[str, str]
    timeout: float | None
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)


Step = Message | BaseException | Awaitable[object]


class FakeChannel:
    """A channel whose answers are set by RPC name: `answers["Generate"] = reply` (a message, an error, or a function
    from request to either), `streams["StreamGenerate"] = steps` (messages to send, errors to raise, awaitables to
    wait for). `metadata` goes out with every reply and error."""

    def __init__(self) -> None:
        self.answers: dict[
            str, Message | BaseException | Callable[[Message], Awaitable[Message] | Message]
        ] = {
            "CheckCaller": CheckCallerResponse(),
            "Generate": completion_for,
            "Embed": embeddings_for,
        }
        self.streams: dict[str, Sequence[Step]] = {"StreamGenerate": [*text_stream("Once", " upon", " a")]}
        self.metadata: dict[str, str] = dict(LIMITS)
        self.asked: list[Asked] = []
        self.entered: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @property
    def last(self) -> Asked:
        """The newest call."""
        return self.asked[-1]

    async def unary(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> Reply[Message]:
        """See Channel."""
        asked = self._note(method, request, options)
        answer = self.answers[method.name]
        try:
            made = answer(request) if callable(answer) else answer
            reply = await made if isinstance(made, Awaitable) else made
        except asyncio.CancelledError:
            asked.cancelled.set()
            raise
        if isinstance(reply, BaseException):
            raise self._with_metadata(reply)
        return Reply(reply, self.metadata)

    async def stream(self, method: Method, request: Message, options: Options = NO_OPTIONS) -> "FakeStream":
        """See Channel."""
        asked = self._note(method, request, options)
        refusal = self.answers.get(method.name)
        if isinstance(refusal, BaseException):
            raise self._with_metadata(refusal)
        return FakeStream(self.metadata, self._play(self.streams[method.name], asked), asked)

    async def _play(self, steps: Sequence[Step], asked: Asked) -> AsyncIterator[Message]:
        try:
            for step in steps:
                if isinstance(step, BaseException):
                    raise self._with_metadata(step)
                if isinstance(step, Message):
                    yield step
                else:
                    await step
        except (asyncio.CancelledError, GeneratorExit):
            asked.cancelled.set()
            raise

    def _note(self, method: Method, request: Message, options: Options) -> Asked:
        asked = Asked(method.name, request, dict(options.wire_metadata()), options.timeout)
        self.asked.append(asked)
        self.entered[method.name].set()
        return asked

    def _with_metadata(self, fault: BaseException) -> BaseException:
        if hasattr(fault, "metadata"):
            fault.metadata = {**self.metadata, **fault.metadata}
        return fault


class FakeStream:
    """A running scripted stream."""

    def __init__(self, metadata: Mapping[str, str], replies: AsyncIterator[Message], asked: Asked) -> None:
        self.metadata = metadata
        self._replies = replies
        self._asked = asked

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._replies

    async def aclose(self) -> None:
        """See StreamReply."""
        self._asked.closed.set()
        await self._replies.aclose()  # type: ignore[attr-defined]  # always an async generator


def completion_for(request: Message) -> GenerateResponse:
    """A short whole reply in the name of the model that was asked for."""
    model = request.spec.model if isinstance(request, GenerateRequest) else "gpt-4"
    message = ChatMessage(role=ROLE_ASSISTANT, text="Hello! What can I do for you today?")
    return GenerateResponse(
        id="chatcmpl-123",
        created=CREATED,
        model=model,
        choices=[Choice(message=message, finish_reason="stop")],
        usage=Usage(input_tokens=12, output_tokens=18),
    )


def embeddings_for(request: Message) -> EmbedResponse:
    """The same four numbers for each input."""
    asked = request if isinstance(request, EmbedRequest) else EmbedRequest()
    vector = Embedding(values=[0.0023064255, -0.009327292, 0.015797, -0.0028842222])
    count = len(asked.texts) + len(asked.tokens)
    return EmbedResponse(model=asked.model, embeddings=[vector] * count, usage=Usage(input_tokens=8))


def text_delta(text: str) -> StreamGenerateResponse:
    """A message with one piece of text."""
    return StreamGenerateResponse(events=[StreamEvent(choices=[ChoiceDelta(text=text)])])


def text_stream(*texts: str) -> list[StreamGenerateResponse]:
    """A complete stream, a message for each text, with its end and its usage."""
    start = StreamStart(id="chatcmpl-123", created=CREATED, model="gpt-4")
    first = ChoiceDelta(role=ROLE_ASSISTANT, text="")
    usage = Usage(input_tokens=9, output_tokens=len(texts))
    return [
        StreamGenerateResponse(start=start, events=[StreamEvent(choices=[first])]),
        *map(text_delta, texts),
        StreamGenerateResponse(events=[StreamEvent(choices=[ChoiceDelta(finish_reason="stop")])]),
        StreamGenerateResponse(events=[StreamEvent(usage=usage)]),
    ]
