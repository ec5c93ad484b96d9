"""Client of headgate.inference.v1.InferenceService; effects and errors stand in its proto."""

from typing import cast

from headgate.inference.v1 import inference_pb2
from headgate.inference.v1.inference_pb2 import (
    CheckCallerRequest,
    CheckCallerResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    StreamGenerateRequest,
    StreamGenerateResponse,
)
from headgate_rpc.call import methods_of
from headgate_rpc.channel import NO_OPTIONS, Channel, Options, Reply, StreamReply

METHODS = methods_of(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"])


class InferenceClient:
    """Calls InferenceService over `channel`. Faults are HeadgateError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def generate(
        self, request: GenerateRequest, options: Options = NO_OPTIONS
    ) -> Reply[GenerateResponse]:
        """InferenceService.Generate."""
        reply = await self._channel.unary(METHODS["Generate"], request, options)
        return cast("Reply[GenerateResponse]", reply)

    async def stream_generate(
        self, request: StreamGenerateRequest, options: Options = NO_OPTIONS
    ) -> StreamReply[StreamGenerateResponse]:
        """InferenceService.StreamGenerate."""
        reply = await self._channel.stream(METHODS["StreamGenerate"], request, options)
        return cast("StreamReply[StreamGenerateResponse]", reply)

    async def embed(self, request: EmbedRequest, options: Options = NO_OPTIONS) -> Reply[EmbedResponse]:
        """InferenceService.Embed."""
        reply = await self._channel.unary(METHODS["Embed"], request, options)
        return cast("Reply[EmbedResponse]", reply)

    async def check_caller(
        self, request: CheckCallerRequest, options: Options = NO_OPTIONS
    ) -> Reply[CheckCallerResponse]:
        """InferenceService.CheckCaller."""
        reply = await self._channel.unary(METHODS["CheckCaller"], request, options)
        return cast("Reply[CheckCallerResponse]", reply)
