"""The face of inference: unpack, one call, pack."""

from collections.abc import AsyncIterator

from headgate.inference.v1 import inference_pb2 as pb
from headgate_admission.admission import Admission
from headgate_inference.embedding import Embedding
from headgate_inference.generation import Generation
from headgate_rpc.call import CallContext


class InferenceServicer:
    """headgate.inference.v1.InferenceService; effects and errors stand in its proto."""

    def __init__(self, generation: Generation, embedding: Embedding, admission: Admission) -> None:
        self._generation = generation
        self._embedding = embedding
        self._admission = admission

    async def Generate(self, request: pb.GenerateRequest, call: CallContext) -> pb.GenerateResponse:
        """InferenceService.Generate."""
        return await self._generation.whole(request.spec, call)

    def StreamGenerate(
        self, request: pb.StreamGenerateRequest, call: CallContext
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        """InferenceService.StreamGenerate."""
        return self._generation.streamed(request.spec, call)

    async def Embed(self, request: pb.EmbedRequest, call: CallContext) -> pb.EmbedResponse:
        """InferenceService.Embed."""
        return await self._embedding.run(request, call)

    async def CheckCaller(self, request: pb.CheckCallerRequest, call: CallContext) -> pb.CheckCallerResponse:
        """InferenceService.CheckCaller."""
        await self._admission.charge(call, request.rate_class)
        return pb.CheckCallerResponse()
