"""Providers that speak OpenAI's API: OpenAI itself, vLLM, llama.cpp, Ollama and most others."""

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference import faults
from headgate_inference.adapters import openai_errors
from headgate_inference.adapters.base import Attempt, Batch
from headgate_inference.adapters.openai_reply import (
    Chunk,
    ProviderSpokeError,
    chat_chunk,
    chat_reply,
    embeddings_reply,
)
from headgate_inference.adapters.openai_request import chat_body, embed_body
from headgate_inference.adapters.sse import SseOverflow, SseParser
from headgate_inference.adapters.transport import (
    Disconnected,
    Late,
    ProviderReply,
    ProviderTransport,
    Target,
    TransportError,
    Unreachable,
)

_ERROR_BYTES = 64 * 1024
# What the parts of a reply raise when they do not have the shape they should.
_WRONG_SHAPE = (ValueError, OverflowError, RecursionError)


class OpenAIAdapter:
    """Speaks over `transport`. `reply_bytes` bounds a whole reply, `event_bytes` one event of a stream."""

    def __init__(self, transport: ProviderTransport, *, reply_bytes: int, event_bytes: int) -> None:
        self._transport = transport
        self._reply_bytes = reply_bytes
        self._event_bytes = event_bytes

    async def generate(self, attempt: Attempt, spec: pb.GenerationSpec) -> pb.GenerateResponse:
        """POST …/chat/completions, whole."""
        body = chat_body(spec, attempt.upstream_id, stream=False)
        data = await self._whole(attempt, body)
        try:
            return chat_reply(data)
        except ProviderSpokeError as error:
            raise openai_errors.spoken(error.fields, attempt.http_status) from None
        except _WRONG_SHAPE:
            raise faults.unusable(attempt.http_status) from None

    async def embed(self, attempt: Attempt, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """POST …/embeddings."""
        data = await self._whole(attempt, embed_body(request, attempt.upstream_id))
        try:
            return embeddings_reply(data, len(request.texts) or len(request.tokens))
        except ProviderSpokeError as error:
            raise openai_errors.spoken(error.fields, attempt.http_status) from None
        except _WRONG_SHAPE:
            raise faults.unusable(attempt.http_status) from None

    async def stream(self, attempt: Attempt, spec: pb.GenerationSpec) -> "OpenAIStream":
        """POST …/chat/completions with `stream`."""
        body = chat_body(spec, attempt.upstream_id, stream=True)
        reply = await self._post(attempt, body, min(attempt.first_token_by, attempt.deadline))
        reply.due = None
        return OpenAIStream(reply, self._event_bytes)

    async def _whole(self, attempt: Attempt, body: bytes) -> bytes:
        return await _read_all(await self._post(attempt, body, attempt.deadline), self._reply_bytes)

    async def _post(self, attempt: Attempt, body: bytes, due: float) -> ProviderReply:
        target = attempt.target
        if target is None:
            raise faults.unreachable()
        try:
            reply = await self._transport.post(target, attempt.headers, body, due)
        except Late:
            raise faults.timed_out() from None
        except Unreachable:
            raise faults.unreachable() from None
        except Disconnected:
            raise faults.disconnected() from None
        except TransportError:
            raise faults.unusable(0) from None
        attempt.http_status = reply.status
        if reply.status != 200:
            raise await _refusal(reply)
        return reply


class OpenAIStream:
    """The events of one streamed reply."""

    def __init__(self, reply: ProviderReply, event_bytes: int) -> None:
        self.id = ""
        self.created = 0
        self.usage: pb.Usage | None = None
        self.usage_extra = b""
        self.finish_reasons: list[str] = []
        self._reply: ProviderReply | None = reply
        self._status = reply.status
        self._parser = SseParser(event_bytes)
        self._unfinished: set[int] = set()
        self._fault: faults.AttemptFault | None = None
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether the provider has said everything."""
        return self._ended and self._fault is None

    async def read(self) -> Batch | None:
        """What is ready, None after `[DONE]`, or after the end of a stream whose choices are finished."""
        while not self._ended and self._reply is not None:
            try:
                data = await self._reply.read()
            except TransportError:
                data = b""
            batch = self._take(data) if data else self._take_rest()
            if batch is not None:
                return batch
        if self._fault is not None:
            raise self._fault
        return None

    def close(self) -> None:
        """Drop the connection if the provider still sends."""
        reply, self._reply = self._reply, None
        if reply is None:
            return
        if self.complete:
            reply.release()
        else:
            reply.close()

    def _take(self, data: bytes) -> Batch | None:
        try:
            payloads = self._parser.feed(data)
        except SseOverflow:
            self._end(faults.unusable(self._status))
            return None
        return self._batch(payloads)

    def _take_rest(self) -> Batch | None:
        """The end of the body: complete, if nothing but `[DONE]` is missing."""
        try:
            batch = self._batch(self._parser.finish())
        except SseOverflow:
            self._end(faults.unusable(self._status))
            return None
        if not self._ended or self._fault is not None:
            whole = self.finish_reasons and not self._unfinished and self._fault is None
            begun = faults.cut if self._unfinished else faults.unusable
            self._fault = None if whole else begun(self._status)
        self._ended = True
        return batch

    def _batch(self, payloads: list[bytes]) -> Batch | None:
        """The events of these payloads; a fault among them is kept until what came before it was read."""
        events: list[pb.StreamEvent] = []
        units = 0
        for payload in payloads:
            if payload == b"[DONE]":
                self._ended = True
                break
            try:
                chunk = chat_chunk(payload)
            except ProviderSpokeError as error:
                self._end(openai_errors.spoken(error.fields, self._status))
                break
            except _WRONG_SHAPE:
                self._end(faults.unusable(self._status))
                break
            units += chunk.units
            self._note(chunk)
            if chunk.event.choices or (chunk.event.extra_json and chunk.usage is None):
                events.append(chunk.event)
        return Batch(events, units) if events else None

    def _note(self, chunk: Chunk) -> None:
        self.id = self.id or chunk.id
        self.created = self.created or chunk.created
        if chunk.usage is not None:
            self.usage = chunk.usage
            if not chunk.event.choices:
                self.usage_extra = chunk.event.extra_json
        for choice in chunk.event.choices:
            if choice.finish_reason:
                self.finish_reasons.append(choice.finish_reason)
                self._unfinished.discard(choice.index)
            else:
                self._unfinished.add(choice.index)

    def _end(self, fault: faults.AttemptFault) -> None:
        self._ended = True
        self._fault = fault


async def _refusal(reply: ProviderReply) -> faults.AttemptFault:
    try:
        body = await _read_all(reply, _ERROR_BYTES)
    except faults.AttemptFault:
        body = b""
    return openai_errors.refusal(reply.status, body, reply.header("retry-after"))


async def _read_all(reply: ProviderReply, limit: int) -> bytes:
    """The body. Raises AttemptFault when it is longer than `limit` or breaks off."""
    pieces: list[bytes] = []
    size = 0
    try:
        while data := await reply.read():
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise faults.unusable(reply.status)
    except Late:
        raise faults.timed_out(reply.status) from None
    except TransportError:
        raise faults.unusable(reply.status) from None
    finally:
        reply.close()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def target(base_url: str, path: str, api_key: str, connect_s: float) -> Target:
    """Where `path` of a provider is. Raises ValueError for a URL that is none."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "headgate"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return Target.of(f"{base_url.rstrip('/')}/{path}", headers, connect_s)
