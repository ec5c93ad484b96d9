"""Client of headgate.inference.v1.InferenceService; effects and errors stand in its proto."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

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

T = TypeVar("T")
Answer = Coroutine[Any, Any, T]

METHODS = methods_of(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"])


class InferenceClient:
    """Calls InferenceService over `channel`. Faults are HeadgateError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def generate(
        self, request: GenerateRequest, options: Options = NO_OPTIONS
    ) -> Answer[Reply[GenerateResponse]]:
        """InferenceService.Generate."""
        reply = self._channel.unary(METHODS["Generate"], request, options)
        return cast("Answer[Reply[GenerateResponse]]", reply)

    def stream_generate(
        self, request: StreamGenerateRequest, options: Options = NO_OPTIONS
    ) -> Answer[StreamReply[StreamGenerateResponse]]:
        """InferenceService.StreamGenerate."""
        reply = self._channel.stream(METHODS["StreamGenerate"], request, options)
        return cast("Answer[StreamReply[StreamGenerateResponse]]", reply)

    def embed(self, request: EmbedRequest, options: Options = NO_OPTIONS) -> Answer[Reply[EmbedResponse]]:
        """InferenceService.Embed."""
        reply = self._channel.unary(METHODS["Embed"], request, options)
        return cast("Answer[Reply[EmbedResponse]]", reply)

    def check_caller(
        self, request: CheckCallerRequest, options: Options = NO_OPTIONS
    ) -> Answer[Reply[CheckCallerResponse]]:
        """InferenceService.CheckCaller."""
        reply = self._channel.unary(METHODS["CheckCaller"], request, options)
        return cast("Answer[Reply[CheckCallerResponse]]", reply)
