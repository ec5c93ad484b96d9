"""Token rates (RATE-13): an estimate is reserved before the call runs and corrected as tokens flow."""

from msgspec import Struct

from headgate_admission.errors import limit_reached, metering_is_away
from headgate_admission.headers import token_headers
from headgate_admission.leases import Leases, state_of
from headgate_admission.policies import Policies
from headgate_admission.principal import Principal
from headgate_clock import Clock
from headgate_leases.refusal import Refusal
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError

TOKENS = "tokens"


class TokenReservation(Struct, gc=False):
    """Tokens taken from the caller's bucket; nothing at all where no token limit applies."""

    _leases: Leases
    _bucket_id: str | None
    units: int

    def correct(self, units: int) -> None:
        """The call has cost this many tokens in all, as far as is known; may be called again and again."""
        if self._bucket_id is not None and units != self.units:
            self._leases.adjust(self._bucket_id, units - self.units)
        self.units = units


class TokenLimits:
    """Reserves tokens for admitted calls."""

    def __init__(self, policies: Policies, leases: Leases, clock: Clock) -> None:
        self._policies = policies
        self._leases = leases
        self._clock = clock

    async def reserve(self, call: CallContext, principal: Principal, units: int) -> TokenReservation:
        """`units` tokens of the call's class. Raises RATE_LIMIT_EXCEEDED, at once if they can never fit, or
        SERVICE_UNAVAILABLE when metering is away and this process has spent its share."""
        limit = self._policies.get(principal.policy).limits(call.method.rate_class).tokens
        if limit is None:
            return TokenReservation(self._leases, None, units)
        bucket_id = limit.prefix + principal.id
        state = self._leases.take(bucket_id, units)
        if state is None:
            refusal = await self._leases.acquire(bucket_id, units, limit.figures)
            if refusal is not None:
                self._refuse(call, refusal)
            state = state_of(self._leases, bucket_id, limit.figures)
        token_headers(call.initial_metadata, state, self._clock.wall_ms())
        return TokenReservation(self._leases, bucket_id, units)

    def _refuse(self, call: CallContext, refusal: Refusal) -> None:
        token_headers(call.initial_metadata, refusal.state, self._clock.wall_ms())
        if refusal.never_fits:
            raise _never_fits(refusal)
        if not refusal.known:
            raise metering_is_away(refusal.retry_after_ms)
        message = f"The call may take {refusal.wanted} tokens; the limit is {refusal.state.limit} per minute."
        raise limit_reached(message, TOKENS, refusal.retry_after_ms)


def _never_fits(refusal: Refusal) -> HeadgateError:
    message = (
        f"The call may take {refusal.wanted} tokens, more than the whole limit of {refusal.state.limit} tokens "
        "per minute: send less or ask for a smaller 'max_tokens'."
    )
    error = limit_reached(message, TOKENS, refusal.retry_after_ms)
    error.metadata["x-should-retry"] = "false"
    return error
