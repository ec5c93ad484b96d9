"""Token rates (RATE-13): an estimate is reserved before the call runs and corrected as tokens flow."""

from headgate_admission.headers import token_headers
from headgate_admission.leases import Leases
from headgate_admission.limits import limit_reached
from headgate_admission.policies import Policies
from headgate_admission.principal import Principal
from headgate_clock import Clock
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError

TOKENS = "tokens"
DEFAULT_OUTPUT = 256


def estimate(prompt_bytes: int, max_tokens: int | None) -> int:
    """Tokens to reserve: a token for each 4 bytes begun, and the output asked for, 256 if unsaid."""
    return -(-prompt_bytes // 4) + (DEFAULT_OUTPUT if max_tokens is None else max_tokens)


class TokenReservation:
    """Tokens taken from the caller's bucket; nothing at all where no token limit applies."""

    __slots__ = ("_bucket_id", "_leases", "units")

    def __init__(self, leases: Leases, bucket_id: str | None, units: int) -> None:
        self._leases = leases
        self._bucket_id = bucket_id
        self.units = units

    def correct(self, units: int) -> None:
        """The call has cost this many tokens in all, as far as is known; may be called again and again."""
        if self._bucket_id is not None and units != self.units:
            self._leases.correct(self._bucket_id, units - self.units)
        self.units = units


class TokenLimits:
    """Reserves tokens for admitted calls."""

    def __init__(self, policies: Policies, leases: Leases, clock: Clock) -> None:
        self._policies = policies
        self._leases = leases
        self._clock = clock

    async def reserve(self, call: CallContext, principal: Principal, units: int) -> TokenReservation:
        """`units` tokens of the call's class. Raises RATE_LIMIT_EXCEEDED, at once if they can never fit."""
        limit = self._policies.get(principal.policy).limit(call.method.rate_class)
        if limit.token_bucket is None:
            return TokenReservation(self._leases, None, units)
        if units > limit.tokens_per_minute:
            raise _never_fits(units, limit.tokens_per_minute)
        bucket_id = limit.token_bucket + principal.id
        verdict = self._leases.spend(bucket_id, units) or await self._leases.acquire(bucket_id, units)
        token_headers(call.initial_metadata, verdict, self._clock.wall_ms())
        if not verdict.granted:
            message = f"The call may take {units} tokens and the limit is {verdict.limit} per minute."
            raise limit_reached(message, TOKENS, verdict.retry_after_ms)
        return TokenReservation(self._leases, bucket_id, units)


def _never_fits(units: int, limit: int) -> HeadgateError:
    message = (
        f"The call may take {units} tokens, more than the whole limit of {limit} tokens per minute: "
        "send less or ask for a smaller 'max_tokens'."
    )
    error = limit_reached(message, TOKENS, 60_000)
    error.message = message
    error.metadata["x-should-retry"] = "false"
    error.metadata["x-ratelimit-limit-tokens"] = str(limit)
    return error
