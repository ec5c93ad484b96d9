"""`POST /v1/chat/completions` and `POST /v1/chat/stream`."""

from headgate.inference.v1.inference_pb2 import GenerateRequest, StreamGenerateRequest, StreamStart
from headgate_clients.inference import InferenceClient
from headgate_gateway.chat.chunks import DONE, ChunkRenderer, error_event
from headgate_gateway.chat.events import EventWriter
from headgate_gateway.chat.request import ChatRequest
from headgate_gateway.chat.response import completion_json
from headgate_gateway.envelope import error_body
from headgate_gateway.exchange import Exchange
from headgate_gateway.strict_json import malformed
from headgate_rpc.errors import HeadgateError


class Chat:
    """Chat over `inference`; bodies of up to `limit` bytes, a comment after `idle` silent seconds of a stream."""

    def __init__(self, inference: InferenceClient, limit: int, idle: float) -> None:
        self._inference = inference
        self._limit = limit
        self._idle = idle

    async def completions(self, exchange: Exchange) -> None:
        """Whole, or streamed when the body says `stream: true`."""
        chat = ChatRequest(await exchange.json(self._limit))
        if chat.stream:
            await self._stream(exchange, chat)
            return
        request = GenerateRequest()
        chat.fill(request.spec)
        reply = await self._inference.generate(request, exchange.options())
        await exchange.answer(completion_json(reply.message), reply.metadata)

    async def stream(self, exchange: Exchange) -> None:
        """Always streamed (CHAT-12)."""
        chat = ChatRequest(await exchange.json(self._limit))
        if chat.stream is False:
            raise malformed("This path always streams.", "stream")
        await self._stream(exchange, chat)

    async def _stream(self, exchange: Exchange, chat: ChatRequest) -> None:
        request = StreamGenerateRequest()
        chat.fill(request.spec)
        reply = await self._inference.stream_generate(request, exchange.options())
        try:
            writer = EventWriter(await exchange.open_events(reply.metadata), self._idle)
            try:
                renderer = ChunkRenderer(_start(exchange, request), include_usage=chat.include_usage)
                async for message in reply:
                    await writer.write(renderer.render(message))
                await writer.finish([DONE])
            except HeadgateError as error:
                exchange.failed(error)
                await writer.finish([error_event(error_body(error))])
            finally:
                writer.close()
        finally:
            await reply.aclose()


def _start(exchange: Exchange, request: StreamGenerateRequest) -> StreamStart:
    """What holds until the stream says otherwise in its first message."""
    created = exchange.record.started_ns // 1_000_000_000
    return StreamStart(id=f"chatcmpl-{exchange.call_id}", created=created, model=request.spec.model)
