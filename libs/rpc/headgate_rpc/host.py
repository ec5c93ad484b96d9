"""Everything one process serves: servicers by method, each run through the same chain (observe, admit, handle)
whichever transport brought the call."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Protocol, cast

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from headgate_clock import Clock, SystemClock
from headgate_rpc.call import INTERNAL_SCOPE, CallContext, Method, Peer, methods_of
from headgate_rpc.errors import HeadgateError, Reason, cancelled, deadline_exceeded, internal_error
from headgate_rpc.origin import Origin, origin_of
from headgate_telemetry.logs import get_logger
from headgate_telemetry.record import CallRecord
from headgate_telemetry.trace import child_of, new_trace

log = get_logger()

UnaryHandler = Callable[[Message, CallContext], Awaitable[Message]]
StreamHandler = Callable[[Message, CallContext], AsyncIterator[Message]]


class Gate(Protocol):
    """Decides whether a call may run."""

    async def admit(self, call: CallContext) -> None:
        """Set `call.principal` and the limit metadata, or raise HeadgateError."""


class Observer(Protocol):
    """Is told of every call, once at each end."""

    def started(self, call: CallContext) -> None:
        """The call has arrived; nothing is known of the caller yet."""

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        """The call has ended, with what error it ended, if any."""


class Endpoint:
    """One served method."""

    __slots__ = ("_clock", "_gate", "_internal", "_observer", "_streamed", "_unary", "method")

    def __init__(self, method: Method, handler: object, gate: Gate, observer: Observer, clock: Clock) -> None:
        self.method = method
        self._internal = method.required_scope == INTERNAL_SCOPE
        self._unary = cast(UnaryHandler, handler)
        self._streamed = cast(StreamHandler, handler)
        self._gate = gate
        self._observer = observer
        self._clock = clock

    def open(
        self,
        metadata: Mapping[str, str],
        peer: Peer,
        deadline: float | None,
        origin: Origin | None = None,
    ) -> CallContext:
        """The context of a call that has just arrived; without an `origin` the metadata is asked for it."""
        method = self.method
        if origin is None:
            origin = origin_of(metadata, peer, method.full_name, self._clock)
        record = CallRecord(
            service=method.service,
            method=method.name,
            endpoint=origin.endpoint,
            request_id=origin.request_id,
            trace=new_trace() if origin.trace is None else child_of(origin.trace),
            started_ns=time.time_ns(),
            call_id=origin.call_id,
            client_address=origin.client_address,
            internal=self._internal,
        )
        call = CallContext(method, metadata, peer, deadline, record)
        call.initial_metadata["x-request-id"] = origin.request_id
        call.initial_metadata["x-call-id"] = origin.call_id
        return call

    async def unary(self, call: CallContext, request: Message) -> Message:
        """Run a call with one reply. Raises HeadgateError; cancelling the task cancels the call."""
        error: HeadgateError | None = None
        self._observer.started(call)
        try:
            if call.deadline is not None:
                async with asyncio.timeout_at(_loop_time(call.deadline)):
                    await self._gate.admit(call)
                    return await self._unary(request, call)
            await self._gate.admit(call)
            return await self._unary(request, call)
        except BaseException as fault:
            error = _as_error(fault, call)
            if error is fault or isinstance(fault, asyncio.CancelledError):
                raise
            raise error from fault
        finally:
            self._finish(call, error)
            # Its traceback leads back to this frame: the request would stay until the collector comes.
            error = None

    async def stream(self, call: CallContext, request: Message) -> AsyncIterator[Message]:
        """Run a call with a stream of replies. Closing the iterator cancels the call. The deadline is kept by the
        transport, which cancels the task: a timer must not span a yield, since the next reply may be asked for
        by another task."""
        error: HeadgateError | None = None
        self._observer.started(call)
        try:
            await self._gate.admit(call)
            replies = self._streamed(request, call)
            async with aclosing(cast("_Closable", replies)):
                async for reply in replies:
                    yield reply
        except BaseException as fault:
            error = _as_error(fault, call)
            if error is fault or isinstance(fault, (asyncio.CancelledError, GeneratorExit)):
                raise
            raise error from fault
        finally:
            self._finish(call, error)
            error = None  # as in `unary`

    def _finish(self, call: CallContext, error: HeadgateError | None) -> None:
        if error is not None:
            error.metadata = {**call.initial_metadata, **call.trailing_metadata, **error.metadata}
        call.run_done_callbacks()
        self._observer.finished(call, error)


class _Closable(Protocol):
    async def aclose(self) -> None: ...


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + deadline - time.monotonic()


def _as_error(fault: BaseException, call: CallContext) -> HeadgateError:
    if isinstance(fault, HeadgateError):
        return fault
    late = call.deadline is not None and time.monotonic() >= call.deadline - 0.005
    if isinstance(fault, (asyncio.CancelledError, GeneratorExit)):
        return deadline_exceeded() if late else cancelled()
    if isinstance(fault, TimeoutError) and late:
        return deadline_exceeded()
    log.error(
        "unhandled fault",
        request_id=call.request_id,
        call_id=call.call_id,
        method=call.method.full_name,
        exc_info=fault,
    )
    return internal_error()


class Host:
    """The services of this process, behind one gate and one observer."""

    def __init__(self, gate: Gate, observer: Observer, clock: Clock | None = None) -> None:
        self._gate = gate
        self._observer = observer
        self._clock = clock or SystemClock()
        self._endpoints: dict[str, Endpoint] = {}
        self.services: list[ServiceDescriptor] = []

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Serve every RPC of `service` by the method of the same name on `servicer`. Raises AttributeError when
        one is missing: a contract is served whole."""
        for method in methods_of(service).values():
            handler = getattr(servicer, method.name)
            self._endpoints[method.full_name] = Endpoint(
                method, handler, self._gate, self._observer, self._clock
            )
        self.services.append(service)

    def endpoint(self, full_name: str) -> Endpoint:
        """The endpoint of `/package.Service/Name`. Raises HeadgateError NOT_IMPLEMENTED for an unknown one."""
        try:
            return self._endpoints[full_name]
        except KeyError:
            raise HeadgateError(Reason.NOT_IMPLEMENTED, f"{full_name} is not served here.") from None

    def endpoints(self) -> list[Endpoint]:
        """All endpoints served."""
        return list(self._endpoints.values())
