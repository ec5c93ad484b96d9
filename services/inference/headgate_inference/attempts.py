"""The attempt loop: the one place where anything is retried, and only before the caller has got anything."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from headgate_inference.adapters.base import Attempt
from headgate_inference.call_meter import CallMeter
from headgate_inference.catalogue import Catalogue
from headgate_inference.deployments import Deployment
from headgate_inference.faults import AttemptFault
from headgate_inference.retry_budget import RetryBudget
from headgate_picker import Picker
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_telemetry.record import AttemptRecord
from headgate_telemetry.trace import child_of, format_traceparent

T = TypeVar("T")

_MOST_ATTEMPTS = 3


class LiveAttempt:
    """One attempt from its start to its end: holds its place in the picker's load, and its record."""

    __slots__ = ("_picker", "deployment", "given", "record")

    def __init__(self, picker: Picker, call: CallContext, deployment: Deployment, number: int) -> None:
        self._picker: Picker | None = picker
        self.deployment = deployment
        self.record = AttemptRecord(
            number=number,
            provider=deployment.provider,
            model=deployment.model.id,
            upstream_id=deployment.upstream_id,
            trace=child_of(call.trace),
            started_ns=time.time_ns(),
            server_address=deployment.address,
        )
        self.given = self._give(call)
        call.record.attempts.append(self.record)
        picker.begin(deployment.id)

    def _give(self, call: CallContext) -> Attempt:
        deployment = self.deployment
        timers = deployment.timers
        now = asyncio.get_running_loop().time()
        headers = {"traceparent": format_traceparent(self.record.trace)}
        if call.request_id.isascii() and call.request_id.isprintable():
            headers["x-request-id"] = call.request_id
        return Attempt(
            model=deployment.model,
            upstream_id=deployment.upstream_id,
            account_id=call.record.account_id,
            target=deployment.embeddings if deployment.model.is_embedding else deployment.chat,
            headers=headers,
            deadline=now + timers.total,
            first_token_by=now + timers.first_token,
        )

    def succeed(self) -> None:
        """The provider has answered in full."""
        self._end("COMPLETED", ok=True, reason="")

    def fail(self, fault: BaseException) -> None:
        """It has ended by this exception. Only what is the provider's fault counts against it."""
        if isinstance(fault, AttemptFault):
            self.given.http_status = self.given.http_status or fault.http_status
            outcome = "TIMED_OUT" if fault.timed_out else "FAILED"
            self._end(outcome, ok=False if fault.blames_provider else None, reason=fault.error.reason)
        elif isinstance(fault, HeadgateError):
            self._end("FAILED", ok=None, reason=fault.reason)
        elif isinstance(fault, (asyncio.CancelledError, GeneratorExit)):
            self._end("CANCELLED", ok=None, reason=Reason.CANCELLED)
        else:
            self._end("FAILED", ok=None, reason=Reason.INTERNAL_ERROR)

    def _end(self, outcome: str, *, ok: bool | None, reason: str) -> None:
        if self._picker is None:
            return
        self._picker.end(self.deployment.id, ok)
        self._picker = None
        self.record.ended_ns = time.time_ns()
        self.record.http_status = self.given.http_status
        self.record.outcome = outcome
        self.record.reason = reason


class Attempts:
    """Tries candidates one after the other until one answers."""

    def __init__(self, catalogue: Catalogue, budget: RetryBudget) -> None:
        self._catalogue = catalogue
        self._budget = budget

    def choose(self, name: str, tried: set[str]) -> Deployment | None:
        """The deployment to try next, None when none is left."""
        while (candidate := self._catalogue.picker.pick(name, tried)) is not None:
            deployment = self._catalogue.deployment(candidate.id)
            if deployment is not None:
                return deployment
            # The route table may be a moment ahead of the catalogue, or name what no adapter speaks to.
            tried.add(candidate.id)
        return None

    async def first_answer(
        self,
        call: CallContext,
        meter: CallMeter,
        try_one: Callable[[LiveAttempt], Awaitable[T]],
    ) -> tuple[LiveAttempt, T]:
        """The first attempt that answers, still running, and its answer. Raises the HeadgateError of the last
        one when none does."""
        self._budget.called()
        tried: set[str] = set()
        deployment = meter.ran
        for number in range(1, _MOST_ATTEMPTS + 1):
            tried.add(deployment.id)
            meter.ran = deployment
            call.initial_metadata.update(deployment.metadata)
            attempt = LiveAttempt(self._catalogue.picker, call, deployment, number)
            try:
                return attempt, await try_one(attempt)
            except AttemptFault as fault:
                attempt.fail(fault)
                following = self._following(call, deployment, tried, fault)
                if following is None or number == _MOST_ATTEMPTS or not self._budget.take():
                    raise fault.error from fault
                deployment = following
            except BaseException as fault:
                attempt.fail(fault)
                raise
        raise AssertionError("the loop ends by return or raise")

    def _following(
        self, call: CallContext, failed: Deployment, tried: set[str], fault: AttemptFault
    ) -> Deployment | None:
        if not fault.retryable:
            return None
        following = self._choose_like(call.record.requested_model, failed, tried)
        return failed if following is None and fault.repeatable else following

    def _choose_like(self, name: str, failed: Deployment, tried: set[str]) -> Deployment | None:
        """The next deployment of the same kind: a fallback may name a model of another one by mistake."""
        while (deployment := self.choose(name, tried)) is not None:
            if deployment.model.is_embedding == failed.model.is_embedding:
                return deployment
            tried.add(deployment.id)
        return None
