"""One generation from its opening to its settle, whole or streamed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence

from headgate.inference.v1 import inference_pb2 as pb
from headgate_admission.admission import Admission
from headgate_inference import faults, sizes
from headgate_inference.adapters.base import Batch, EventStream
from headgate_inference.attempts import Attempts, LiveAttempt
from headgate_inference.call_meter import CallMeter
from headgate_inference.faults import AttemptFault
from headgate_inference.interruption import Interruption
from headgate_inference.opening import Opening
from headgate_inference.usage import write
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason

# Proxies and browsers give up on a connection that says nothing; headers tell them that it lives.
_HEADERS_AFTER_S = 10.0


class Generation:
    """Runs generations."""

    def __init__(self, opening: Opening, attempts: Attempts, admission: Admission) -> None:
        self._opening = opening
        self._attempts = attempts
        self._admission = admission

    async def whole(self, spec: pb.GenerationSpec, call: CallContext) -> pb.GenerateResponse:
        """One reply, metered before it is returned. Raises HeadgateError."""

        def generate(attempt: LiveAttempt) -> Awaitable[pb.GenerateResponse]:
            return attempt.deployment.adapter.generate(attempt.given, spec)

        meter = await self._opening.generation(spec, call, streamed=False)
        try:
            attempt, reply = await self._attempts.first_answer(call, meter, generate)
            attempt.succeed()
            stated = reply.usage if reply.HasField("usage") else None
            written = None if stated is not None else sizes.tokens(sizes.reply_bytes(reply))
            charged = meter.complete(stated, written)
        except BaseException as fault:
            meter.fail(fault)
            raise
        call.record.finish_reasons = tuple([choice.finish_reason for choice in reply.choices])
        if not reply.id:
            reply.id = f"chatcmpl-{call.call_id}"
        if not reply.created:
            reply.created = call.record.started_ns // 1_000_000_000
        reply.model = spec.model
        write(charged, stated, reply.usage)
        return reply

    async def streamed(
        self, spec: pb.GenerationSpec, call: CallContext
    ) -> AsyncIterator[pb.StreamGenerateResponse]:
        """A reply in pieces; what was ready together is one message. Raises HeadgateError. Closing the iterator
        stops the provider."""
        meter = await self._opening.generation(spec, call, streamed=True)
        interruption = Interruption()
        running: RunningStream | None = None
        try:
            self._admission.on_revoked(call, lambda: interruption.interrupt(_revoked()))
            running = await self._open(spec, call, meter, interruption)
            message: pb.StreamGenerateResponse | None = running.first_message(spec.model)
            while message is not None:
                yield message
                message = await running.next_message()
        except BaseException as fault:
            if running is not None:
                running.fail(fault)
            meter.fail(fault, None if running is None else running.usage)
            if isinstance(fault, AttemptFault):
                raise fault.error from fault
            raise
        finally:
            interruption.close()
            if running is not None:
                running.close()

    async def _open(
        self, spec: pb.GenerationSpec, call: CallContext, meter: CallMeter, interruption: Interruption
    ) -> "RunningStream":
        async def begin(attempt: LiveAttempt) -> tuple[EventStream, Batch]:
            events = await attempt.deployment.adapter.stream(attempt.given, spec)
            try:
                return events, await _until_content(attempt, events)
            except BaseException:
                events.close()
                raise

        early = _EarlyHeaders(call)
        try:
            answer = self._attempts.first_answer(call, meter, begin)
            attempt, (events, batch) = await interruption.wait(answer)
        finally:
            early.cancel()
        if early.sent and attempt.record.number > 1:
            call.trailing_metadata.update(attempt.deployment.metadata)
        return RunningStream(call, meter, interruption, attempt=attempt, events=events, first=batch)


class RunningStream:
    """A stream whose first content is there. From here on nothing is retried."""

    def __init__(
        self,
        call: CallContext,
        meter: CallMeter,
        interruption: Interruption,
        *,
        attempt: LiveAttempt,
        events: EventStream,
        first: Batch,
    ) -> None:
        self._call = call
        self._meter = meter
        self._interruption = interruption
        self._attempt = attempt
        self._events = events
        self._first = first
        self._idle_by: float | None = None
        self._done = False
        if first.units:
            call.record.first_token_ns = time.time_ns()

    @property
    def usage(self) -> pb.Usage | None:
        """What the provider has stated so far."""
        return self._events.usage

    def first_message(self, model: str) -> pb.StreamGenerateResponse:
        """What was ready first, with what is equal in all pieces."""
        message = self._message(self._first)
        message.start.id = self._events.id or f"chatcmpl-{self._call.call_id}"
        message.start.created = self._events.created or self._call.record.started_ns // 1_000_000_000
        message.start.model = model
        return message

    async def next_message(self) -> pb.StreamGenerateResponse | None:
        """What is ready next, None after the last. Raises AttemptFault, HeadgateError when interrupted."""
        if self._done:
            return None
        given = self._attempt.given
        if self._idle_by is None:
            self._idle_by = asyncio.get_running_loop().time() + self._attempt.deployment.timers.idle
        due = min(self._idle_by, given.deadline)
        try:
            batch = await self._interruption.wait(self._events.read(), due)
        except TimeoutError:
            raise faults.timed_out(given.http_status) from None
        if batch is not None and batch.units:
            self._idle_by = None
        return self._message(batch)

    def _message(self, batch: Batch | None) -> pb.StreamGenerateResponse:
        """The message for a batch. The call is settled before the message with its end leaves: whoever gets
        that has got everything."""
        events: Sequence[pb.StreamEvent] = () if batch is None else batch.events
        if batch is not None and batch.units:
            self._meter.progress(batch.units)
        message = pb.StreamGenerateResponse(events=events)
        if batch is None or self._events.complete:
            self._done = True
            self._complete(message)
        return message

    def _complete(self, message: pb.StreamGenerateResponse) -> None:
        stated = self._events.usage
        self._attempt.succeed()
        charged = self._meter.complete(stated)
        self._call.record.finish_reasons = tuple(self._events.finish_reasons)
        last = message.events.add(extra_json=self._events.usage_extra)
        write(charged, stated, last.usage)

    def fail(self, fault: BaseException) -> None:
        """The stream has ended by this exception."""
        self._attempt.fail(fault)

    def close(self) -> None:
        """Stop the provider if it still runs."""
        self._events.close()


class _EarlyHeaders:
    """Sends the initial metadata when the first content takes long."""

    def __init__(self, call: CallContext) -> None:
        self.sent = False
        self._call = call
        self._timer = asyncio.get_running_loop().call_later(_HEADERS_AFTER_S, self._send)

    def _send(self) -> None:
        self.sent = True
        self._call.send_initial_metadata()

    def cancel(self) -> None:
        self._timer.cancel()


async def _read(attempt: LiveAttempt, events: EventStream, due: float) -> Batch | None:
    """The next batch, by `due` on the loop's clock."""
    try:
        async with asyncio.timeout_at(due):
            return await events.read()
    except TimeoutError:
        raise faults.timed_out(attempt.given.http_status) from None


async def _until_content(attempt: LiveAttempt, events: EventStream) -> Batch:
    """Everything up to the first content, or to the end of a stream without any. What comes before content (the
    role, a note of the provider) waits for it, since nothing can be retried once the caller has got it."""
    given = attempt.given
    due = min(given.first_token_by, given.deadline)
    held: list[pb.StreamEvent] = []
    while True:
        batch = await _read(attempt, events, due)
        if batch is not None:
            held += batch.events
            if batch.units:
                return Batch(held, batch.units)
        if events.complete:
            break
    if not events.finish_reasons:
        raise faults.unusable(given.http_status)
    return Batch(held, 0)


def _revoked() -> HeadgateError:
    return HeadgateError(Reason.INVALID_CREDENTIALS, "The API key was revoked while the call ran.")
