"""The accounting of one call: intent, progress, and exactly one settle. Everything here is synchronous, so that
no cancellation can come between its steps."""

import asyncio

from headgate.inference.v1 import inference_pb2 as pb
from headgate.metering.v1 import metering_pb2
from headgate.metering.v1.metering_pb2 import UsageEvent
from headgate_admission.tokens import TokenReservation
from headgate_clock import Clock
from headgate_inference.deployments import Deployment
from headgate_inference.faults import AttemptFault
from headgate_inference.usage import Bill, Estimate, bill
from headgate_journal import Journal, JournalError, MeteredCall, Settlement
from headgate_money import TokenCounts
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_telemetry.logs import get_logger
from headgate_telemetry.record import CallRecord

log = get_logger()

OUTCOMES = {number: name.removeprefix("OUTCOME_") for name, number in metering_pb2.Outcome.items()}

_DEADLINE_SLACK_S = 0.005
# The caller's key ended while its call ran.
_ENDED_BY_US = (Reason.INVALID_CREDENTIALS, Reason.TOKEN_EXPIRED)


class CallMeter:
    """Between the intent and the settle of one call. `units` counts the pieces of content the provider sent;
    `ran` is the deployment tried last, which the call is booked on."""

    __slots__ = ("_call", "_clock", "_hold", "_metered", "_price", "_started", "estimate", "ran", "units")

    def __init__(
        self,
        call: CallContext,
        hold: TokenReservation,
        journal: Journal,
        clock: Clock,
        *,
        first: Deployment,
        estimate: Estimate,
        config_version: int,
    ) -> None:
        """Write the intent. Raises JournalError."""
        self._call = call
        self._hold = hold
        self._clock = clock
        self._price = first.model.price
        self._started = clock.monotonic()
        self.ran = first
        self.estimate = estimate
        self.units = 0
        self._metered = MeteredCall(
            journal, _intent(call, first, estimate, config_version), first.model.rates
        )

    @property
    def seq(self) -> int:
        """Number of the intent in the journal."""
        return self._metered.seq

    def progress(self, units: int) -> None:
        """So many more pieces have come from the provider; to be called before they go to the caller."""
        self.units += units
        self._metered.progress(self.units)

    def complete(self, stated: pb.Usage | None, written: int | None = None) -> Bill:
        """Close a call whose whole reply is there; `written` is the estimate of a whole reply's output tokens."""
        charged = bill(stated, self.estimate, counted=self.units, written=written)
        self._settle(metering_pb2.OUTCOME_COMPLETED, charged, "")
        return charged

    def fail(self, fault: BaseException, stated: pb.Usage | None = None) -> None:
        """Close a call that did not complete, unless it is closed. What the provider sent until then is billed;
        a call without any output costs nothing."""
        if self._metered.settled is not None:
            return
        charged = Bill(TokenCounts(), estimated=False)
        if self.units:
            charged = bill(stated, self.estimate, counted=self.units)
        outcome, reason = self._verdict(fault)
        self._settle(outcome, charged, reason)

    def _verdict(self, fault: BaseException) -> "tuple[metering_pb2.Outcome.ValueType, str]":
        if isinstance(fault, (asyncio.CancelledError, GeneratorExit)):
            remaining = self._call.time_remaining()
            if remaining is not None and remaining <= _DEADLINE_SLACK_S:
                return metering_pb2.OUTCOME_TIMED_OUT, Reason.DEADLINE_EXCEEDED
            return metering_pb2.OUTCOME_CANCELLED, Reason.CANCELLED
        error = fault.error if isinstance(fault, AttemptFault) else fault
        if not isinstance(error, HeadgateError):
            return metering_pb2.OUTCOME_FAILED, Reason.INTERNAL_ERROR
        if error.reason is Reason.UPSTREAM_TIMEOUT:
            return metering_pb2.OUTCOME_TIMED_OUT, error.reason
        if error.reason in _ENDED_BY_US:
            return metering_pb2.OUTCOME_CANCELLED, error.reason
        return metering_pb2.OUTCOME_UPSTREAM_CUT if self.units else metering_pb2.OUTCOME_FAILED, error.reason

    def _settle(self, outcome: "metering_pb2.Outcome.ValueType", charged: Bill, error_reason: str) -> None:
        """Where the journal cannot take it (a full disk), that is logged and the call is settled at the next
        start: the caller's answer does not hang on it."""
        record = self._call.record
        counts = charged.counts
        model = self.ran.model
        self._hold.correct(counts.input_tokens + counts.output_tokens)
        record.model, record.provider = model.id, self.ran.provider
        record.input_tokens, record.output_tokens = counts.input_tokens, counts.output_tokens
        record.estimated = charged.estimated
        record.outcome = OUTCOMES[outcome]
        settlement = Settlement(
            outcome=outcome,
            counts=counts,
            model=model.id,
            provider=self.ran.provider,
            estimated=charged.estimated,
            latency_ms=int((self._clock.monotonic() - self._started) * 1000),
            first_token_ms=_first_token_ms(record),
            attempts=len(record.attempts),
            error_reason=error_reason,
            price=None if model.price is self._price else model.price,
        )
        try:
            record.cost_nano_usd = self._metered.settle(settlement).cost_nano_usd
        except JournalError as fault:
            log.error(
                "settle not written", call_id=record.call_id, request_id=record.request_id, fault=str(fault)
            )


def _first_token_ms(record: CallRecord) -> int:
    if not record.streamed or not record.first_token_ns:
        return 0
    return max(1, (record.first_token_ns - record.started_ns) // 1_000_000)


def _intent(call: CallContext, first: Deployment, estimate: Estimate, config_version: int) -> UsageEvent:
    principal = call.principal
    record = call.record
    intent = UsageEvent()
    intent.CopyFrom(first.intent)
    intent.requested_model = record.requested_model
    intent.worst_case_nano_usd = first.model.rates.worst_case_nano_usd(
        estimate.input_bytes, estimate.most_output
    )
    intent.quantities.input_tokens = estimate.input_tokens
    # In place: a message given to the constructor is copied.
    context = intent.call
    context.call_id = call.call_id
    context.request_id = call.request_id
    if principal is not None:
        context.account_id = principal.account_id
        context.principal_id = principal.id
    context.trace_id = call.trace.trace_id
    context.endpoint = record.endpoint
    context.config_version = config_version
    context.started_at_ms = record.started_ns // 1_000_000
    return intent
