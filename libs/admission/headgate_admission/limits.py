"""Request limits: which buckets a call spends from, and what it is told (RATE-1 to RATE-18)."""

from collections.abc import Coroutine
from typing import Any

from headgate_admission.addresses import subject
from headgate_admission.errors import limit_reached, metering_is_away
from headgate_admission.headers import request_headers, unlimited_headers
from headgate_admission.leases import Leases, state_of
from headgate_admission.policies import DEFAULT_CLASS, Limit, Policies, Policy
from headgate_clock import Clock
from headgate_leases.refusal import BucketState, Refusal
from headgate_rpc.call import CallContext

# Which limit was reached: the key's, or that of the client address.
REQUESTS = "requests"
ADDRESS = "ip"


class RequestLimits:
    """Charges one request, to every bucket that applies or to none."""

    def __init__(self, policies: Policies, leases: Leases, clock: Clock) -> None:
        self._policies = policies
        self._leases = leases
        self._clock = clock

    def charge(
        self, call: CallContext, policy_name: str, principal_id: str, rate_class: str
    ) -> Coroutine[Any, Any, None] | None:
        """One request of a known caller; None when that is done, else what to await. Raises RATE_LIMIT_EXCEEDED, or
        SERVICE_UNAVAILABLE when metering is away and this process has spent its share."""
        policy = self._policies.get(policy_name)
        limit = policy.limits(rate_class).requests
        if limit is None:
            unlimited_headers(call.initial_metadata, self._clock.wall_ms())
            return None
        bucket_id = limit.prefix + principal_id
        state = self._leases.take(bucket_id)
        if state is None or policy.per_address:
            return self._charge_further(call, policy, limit, bucket_id, state)
        self._show(call, state)
        return None

    async def _charge_further(
        self, call: CallContext, policy: Policy, limit: Limit, bucket_id: str, state: BucketState | None
    ) -> None:
        """What may have to wait for metering. `state` is None while the key's own bucket has not been charged."""
        if state is None:
            self._check(call, await self._leases.acquire(bucket_id, 1, limit.figures), limit, REQUESTS)
            state = state_of(self._leases, bucket_id, limit.figures)
        if policy.per_address:
            state = min(state, await self._charge_address_too(call, limit, bucket_id), key=_remaining)
        self._show(call, state)

    async def charge_stranger(self, call: CallContext) -> None:
        """One request of somebody unknown, to the address bucket of `standard`. Raises as `charge`."""
        limit = self._policies.standard.limits(DEFAULT_CLASS).requests
        if limit is None:
            unlimited_headers(call.initial_metadata, self._clock.wall_ms())
            return
        bucket_id = _address_bucket(call, limit)
        self._check(call, await self._spend(bucket_id, limit), limit, ADDRESS)
        self._show(call, state_of(self._leases, bucket_id, limit.figures))

    async def _charge_address_too(self, call: CallContext, limit: Limit, key_bucket: str) -> BucketState:
        bucket_id = _address_bucket(call, limit)
        refusal = await self._spend(bucket_id, limit)
        if refusal is not None:
            self._leases.adjust(key_bucket, -1)
        self._check(call, refusal, limit, ADDRESS)
        return state_of(self._leases, bucket_id, limit.figures)

    async def _spend(self, bucket_id: str, limit: Limit) -> Refusal | None:
        if self._leases.take(bucket_id):
            return None
        return await self._leases.acquire(bucket_id, 1, limit.figures)

    def _check(self, call: CallContext, refusal: Refusal | None, limit: Limit, scope: str) -> None:
        if refusal is None:
            return
        self._show(call, refusal.state)
        if not refusal.known:
            raise metering_is_away(refusal.retry_after_ms)
        what = "from your address" if scope == ADDRESS else "with this API key"
        message = f"Too many requests {what}: the limit is {limit.figures.per_minute} per minute."
        raise limit_reached(message, scope, refusal.retry_after_ms)

    def _show(self, call: CallContext, state: BucketState) -> None:
        request_headers(call.initial_metadata, state, self._clock.wall_ms())


def _address_bucket(call: CallContext, limit: Limit) -> str:
    return limit.prefix + subject(call.record.client_address or "unknown")


def _remaining(state: BucketState) -> int:
    return state.remaining
