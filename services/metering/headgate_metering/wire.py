"""Between the messages of the contract and what the domain works on."""

import hashlib

from headgate.context.v1 import context_pb2
from headgate.metering.v1 import metering_pb2
from headgate.registry.v1 import registry_pb2
from headgate_metering.buckets import HOLDER_TTL_MS, Ask, Grant
from headgate_metering.usage_event import (
    Adjustment,
    Call,
    DeadLetter,
    Ending,
    OpenCall,
    Outcome,
    Quantities,
    Settlement,
    Usage,
    checkpoint,
)

Event = OpenCall | Settlement | Adjustment

# Bounds that no real call reaches: beyond them a sum over a month could leave 64 bits.
_MOST_TOKENS = 10**10
_MOST_NANO_USD = 10**15
_MOST_UNITS = 10**10
_MOST_MS = 2**53
_LONGEST_ID = 128
_OUTCOMES = frozenset(int(each) for each in Outcome if each)


def read_event(message: metering_pb2.UsageEvent) -> Event:
    """The event of a message. Raises ValueError with the reason when it cannot be booked."""
    kind = message.kind
    if kind == metering_pb2.EVENT_KIND_SETTLE:
        return _settlement(message)
    _check_figures(message)
    if kind == metering_pb2.EVENT_KIND_INTENT:
        return _intent(message)
    if kind == metering_pb2.EVENT_KIND_CHECKPOINT:
        return _checkpoint(message)
    if kind == metering_pb2.EVENT_KIND_ADJUST:
        return _adjustment(message)
    raise ValueError("the kind is unknown")


def _check_figures(message: metering_pb2.UsageEvent) -> None:
    if not 0 < len(message.call.call_id) <= _LONGEST_ID:
        raise ValueError("call_id is missing or too long")
    if message.seq > _MOST_MS:
        raise ValueError("seq is out of range")
    if max(abs(message.cost_nano_usd), abs(message.worst_case_nano_usd)) > _MOST_NANO_USD:
        raise ValueError("an amount is out of range")
    counts = message.quantities
    most = max(abs(counts.input_tokens), abs(counts.output_tokens))
    if max(most, abs(counts.cached_input_tokens), abs(counts.reasoning_tokens)) > _MOST_TOKENS:
        raise ValueError("quantities are out of range")


def _check_owner(call: context_pb2.CallContext) -> None:
    if not 0 < len(call.account_id) <= _LONGEST_ID:
        raise ValueError("account_id is missing or too long")
    if not 0 < call.started_at_ms <= _MOST_MS:
        raise ValueError("started_at_ms is no time")


def _check_settle(message: metering_pb2.UsageEvent) -> None:
    _check_figures(message)
    _check_owner(message.call)
    if message.outcome == metering_pb2.OUTCOME_UNSPECIFIED:
        raise ValueError("outcome is missing")
    if message.outcome not in _OUTCOMES:
        raise ValueError(f"the outcome {message.outcome} is unknown")
    counts = message.quantities
    least = min(
        counts.input_tokens, counts.output_tokens, counts.cached_input_tokens, counts.reasoning_tokens
    )
    if min(least, message.cost_nano_usd, message.latency_ms, message.first_token_ms) < 0:
        raise ValueError("a settle is negative")
    if max(message.latency_ms, message.first_token_ms) > _MOST_MS:
        raise ValueError("a duration is out of range")


def _settlement(message: metering_pb2.UsageEvent) -> Settlement:
    """Every settled call passes here: one expression says whether all is well, and only if not `_check_settle`
    finds out what."""
    call, ending, counts = _call(message), _ending(message), _quantities(message.quantities)
    cost = message.cost_nano_usd
    if not (
        0 <= cost <= _MOST_NANO_USD
        and 0 <= counts.input_tokens <= _MOST_TOKENS
        and 0 <= counts.output_tokens <= _MOST_TOKENS
        and 0 <= counts.cached_input_tokens <= _MOST_TOKENS
        and 0 <= counts.reasoning_tokens <= _MOST_TOKENS
        and 0 <= ending.latency_ms <= _MOST_MS
        and 0 <= ending.first_token_ms <= _MOST_MS
        and 0 < call.started_at_ms <= _MOST_MS
        and 0 < len(call.call_id) <= _LONGEST_ID
        and 0 < len(call.account_id) <= _LONGEST_ID
        and call.seq <= _MOST_MS
        and ending.outcome in _OUTCOMES
    ):
        _check_settle(message)
    return Settlement(call, ending, counts, cost)


def _ending(message: metering_pb2.UsageEvent) -> Ending:
    return Ending(
        message.outcome,
        message.model,
        message.provider,
        message.estimated,
        message.latency_ms,
        message.first_token_ms,
        message.attempts,
        message.error_reason,
    )


def _intent(message: metering_pb2.UsageEvent) -> OpenCall:
    _check_owner(message.call)
    return OpenCall(
        call=_call(message),
        model=message.model,
        provider=message.provider,
        price=message.price.SerializeToString() if message.HasField("price") else None,
        worst_case_nano_usd=message.worst_case_nano_usd,
        progress=Quantities(input_tokens=message.quantities.input_tokens),
    )


def _checkpoint(message: metering_pb2.UsageEvent) -> OpenCall:
    return checkpoint(message.call.call_id, _quantities(message.quantities), message.producer_id, message.seq)


def _adjustment(message: metering_pb2.UsageEvent) -> Adjustment:
    return Adjustment(
        call_id=message.call.call_id,
        source=f"{message.producer_id}/{message.seq}",
        quantities=_quantities(message.quantities),
        cost_nano_usd=message.cost_nano_usd,
    )


def _call(message: metering_pb2.UsageEvent) -> Call:
    call = message.call
    # By position: names cost as much again as the fields.
    return Call(
        call.call_id,
        call.account_id,
        call.principal_id,
        call.request_id,
        call.trace_id,
        call.endpoint,
        message.requested_model,
        message.price.version,
        call.started_at_ms,
        message.producer_id,
        message.seq,
    )


def _quantities(message: metering_pb2.Quantities) -> Quantities:
    return Quantities(
        message.input_tokens, message.output_tokens, message.cached_input_tokens, message.reasoning_tokens
    )


def dead_letter(message: metering_pb2.UsageEvent, reason: str) -> DeadLetter:
    """The message as it came, with the reason why it is not booked."""
    payload = message.SerializeToString(deterministic=True)
    # Without what PostgreSQL cannot hold: what is kept because it is unusable must not be so itself.
    producer_id = message.producer_id.replace("\0", "")
    return DeadLetter(hashlib.sha256(payload).hexdigest(), payload, reason.replace("\0", ""), producer_id)


def quantities_message(quantities: Quantities) -> metering_pb2.Quantities:
    """The wire form of token counts."""
    return metering_pb2.Quantities(
        input_tokens=quantities.input_tokens,
        output_tokens=quantities.output_tokens,
        cached_input_tokens=quantities.cached_input_tokens,
        reasoning_tokens=quantities.reasoning_tokens,
    )


def record_message(settlement: Settlement) -> metering_pb2.UsageEvent:
    """A settled call as the settle event it amounts to."""
    call, ending = settlement.call, settlement.ending
    return metering_pb2.UsageEvent(
        call=context_pb2.CallContext(
            call_id=call.call_id,
            request_id=call.request_id,
            account_id=call.account_id,
            principal_id=call.principal_id,
            trace_id=call.trace_id,
            endpoint=call.endpoint,
            started_at_ms=call.started_at_ms,
        ),
        kind=metering_pb2.EVENT_KIND_SETTLE,
        outcome=metering_pb2.Outcome.ValueType(ending.outcome),
        producer_id=call.producer_id,
        seq=call.seq,
        time_ms=call.started_at_ms + ending.latency_ms,
        requested_model=call.requested_model,
        model=ending.model,
        provider=ending.provider,
        price=registry_pb2.Price(version=call.price_version),
        cost_nano_usd=settlement.cost_nano_usd,
        quantities=quantities_message(settlement.quantities),
        estimated=ending.estimated,
        latency_ms=ending.latency_ms,
        first_token_ms=ending.first_token_ms,
        attempts=ending.attempts,
        error_reason=ending.error_reason,
    )


def usage_message(model: str, usage: Usage) -> metering_pb2.ModelUsage:
    """The sum of one model name."""
    return metering_pb2.ModelUsage(
        model=model,
        requests=usage.requests,
        quantities=quantities_message(usage.quantities),
        cost_nano_usd=usage.cost_nano_usd,
    )


def read_ask(message: metering_pb2.LeaseAsk) -> Ask:
    """The ask of a message. Raises ValueError for figures that no holder can have."""
    if message.want < 0:
        raise ValueError("want must not be negative")
    if max(message.want, abs(message.returned), abs(message.spent)) > _MOST_UNITS:
        raise ValueError("units are out of range")
    return Ask(message.bucket_id, message.want, message.spent, message.returned)


def grant_message(grant: Grant, holder_id: str, now_ms: int) -> metering_pb2.LeaseGrant:
    """The wire form of a grant at the wall-clock time `now_ms`."""
    return metering_pb2.LeaseGrant(
        bucket_id=grant.bucket_id,
        lease_id=f"{holder_id}:{grant.fencing}",
        fencing=grant.fencing,
        units=grant.units,
        ttl_ms=HOLDER_TTL_MS,
        limit=grant.limit,
        remaining=grant.remaining,
        reset_at_ms=now_ms + grant.reset_in_ms,
        holders=grant.holders,
        retry_after_ms=grant.retry_after_ms,
    )
