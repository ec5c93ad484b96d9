"""One embeddings call from its opening to its settle."""

from headgate.inference.v1 import inference_pb2 as pb
from headgate_inference.attempts import Attempts, LiveAttempt
from headgate_inference.opening import Opening
from headgate_inference.usage import write
from headgate_rpc.call import CallContext


class Embedding:
    """Runs embeddings calls."""

    def __init__(self, opening: Opening, attempts: Attempts) -> None:
        self._opening = opening
        self._attempts = attempts

    async def run(self, request: pb.EmbedRequest, call: CallContext) -> pb.EmbedResponse:
        """One vector for each input, metered. Raises HeadgateError."""

        async def embed(attempt: LiveAttempt) -> pb.EmbedResponse:
            return await attempt.deployment.adapter.embed(attempt.given, request)

        meter = await self._opening.embedding(request, call)
        try:
            attempt, reply = await self._attempts.first_answer(call, meter, embed)
            attempt.succeed()
            stated = reply.usage if reply.HasField("usage") else None
            charged = meter.complete(stated)
        except BaseException as fault:
            meter.fail(fault)
            raise
        reply.model = request.model
        write(charged, stated, reply.usage)
        return reply
