"""Request limits: which buckets a call spends from, and what it is told (RATE-1 to RATE-18)."""

from headgate_admission.addresses import subject
from headgate_admission.headers import request_headers, unlimited_headers
from headgate_admission.leases import Leases, Verdict
from headgate_admission.policies import DEFAULT_CLASS, Policies
from headgate_clock import Clock
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason

# The share of one address in `scope` and in the buckets' subjects.
REQUESTS = "requests"
ADDRESS = "ip"


class RequestLimits:
    """Charges one request, to every bucket that applies or to none."""

    def __init__(self, policies: Policies, leases: Leases, clock: Clock) -> None:
        self._policies = policies
        self._leases = leases
        self._clock = clock

    async def charge(self, call: CallContext, policy_name: str, principal_id: str, rate_class: str) -> None:
        """One request of a known caller. Raises RATE_LIMIT_EXCEEDED."""
        policy = self._policies.get(policy_name)
        prefix = policy.limit(rate_class).request_bucket
        if prefix is None:
            unlimited_headers(call.initial_metadata, self._clock.wall_ms())
            return
        bucket_id = prefix + principal_id
        tightest = self._leases.spend(bucket_id, 1) or await self._leases.acquire(bucket_id, 1)
        if tightest.granted and policy.per_address:
            address = await self._spend_address(call, prefix)
            if not address.granted:
                self._leases.correct(bucket_id, -1)
                self._answer(call, address, ADDRESS)
            if address.remaining < tightest.remaining:
                tightest = address
        self._answer(call, tightest, REQUESTS)

    async def charge_stranger(self, call: CallContext) -> None:
        """One request of somebody unknown, to the address bucket of `standard`. Raises RATE_LIMIT_EXCEEDED."""
        prefix = self._policies.standard.limit(DEFAULT_CLASS).request_bucket
        if prefix is None:
            unlimited_headers(call.initial_metadata, self._clock.wall_ms())
            return
        self._answer(call, await self._spend_address(call, prefix), ADDRESS)

    async def _spend_address(self, call: CallContext, prefix: str) -> Verdict:
        bucket_id = prefix + subject(call.record.client_address or "unknown")
        return self._leases.spend(bucket_id, 1) or await self._leases.acquire(bucket_id, 1)

    def _answer(self, call: CallContext, verdict: Verdict, scope: str) -> None:
        request_headers(call.initial_metadata, verdict, self._clock.wall_ms())
        if not verdict.granted:
            what = "from your address" if scope == ADDRESS else "with this API key"
            message = f"Too many requests {what}: the limit is {verdict.limit} per minute."
            raise limit_reached(message, scope, verdict.retry_after_ms)


def limit_reached(message: str, scope: str, retry_after_ms: int) -> HeadgateError:
    """The refusal of a call that a limit has no room for; `scope` says which limit."""
    retry_after_ms = max(retry_after_ms, 1)
    seconds = str(-(-retry_after_ms // 1000))
    error = HeadgateError(
        Reason.RATE_LIMIT_EXCEEDED,
        f"{message} Try again in {seconds} s.",
        retry_after_ms=retry_after_ms,
        details={"scope": scope},
    )
    error.metadata = {
        "retry-after": seconds,
        "x-ratelimit-retry-after": seconds,
        "x-ratelimit-scope": scope,
    }
    return error
