"""The refusals of admission."""

from headgate_rpc.errors import HeadgateError, Reason


def no_credential() -> HeadgateError:
    """Nothing says who calls."""
    return HeadgateError(
        Reason.UNAUTHORIZED, "No API key was sent; put it into 'Authorization: Bearer <key>' or 'X-API-Key'."
    )


def invalid_key() -> HeadgateError:
    """The answer to noise, in the words auth has for any wrong key."""
    return HeadgateError(Reason.INVALID_CREDENTIALS, "The API key is not valid.")


def expired_key() -> HeadgateError:
    """The key was right and its time is over."""
    return HeadgateError(Reason.TOKEN_EXPIRED, "The API key has expired.")


def auth_is_away() -> HeadgateError:
    """Nobody can say who calls. Never a 401: the key may be a good one."""
    return HeadgateError(
        Reason.SERVICE_UNAVAILABLE, "The API key cannot be checked at the moment.", retry_after_ms=1000
    )


def wrong_address() -> HeadgateError:
    """The caller's address is outside the key's or the account's list."""
    return HeadgateError(Reason.IP_NOT_ALLOWED, "This API key may not be used from your address.")


def outsider() -> HeadgateError:
    """An RPC between parts of the suite, called from outside."""
    return HeadgateError(Reason.FORBIDDEN, "This method is for parts of the suite only.")


def lacks_scope(scope: str) -> HeadgateError:
    """A valid credential that does not hold the scope."""
    return HeadgateError(
        Reason.FORBIDDEN, f"This API key lacks the scope '{scope}'.", details={"scope": scope}
    )


def metering_is_away(retry_after_ms: int) -> HeadgateError:
    """Nobody can say whether the limit is reached, and this process has spent its share of it."""
    return HeadgateError(
        Reason.SERVICE_UNAVAILABLE,
        "Your limits cannot be checked at the moment.",
        retry_after_ms=retry_after_ms,
    )


def limit_reached(message: str, scope: str, retry_after_ms: int) -> HeadgateError:
    """A limit has no room for the call; `scope` says which limit (RATE-16, RATE-19)."""
    error = HeadgateError(
        Reason.RATE_LIMIT_EXCEEDED, message, retry_after_ms=retry_after_ms, details={"scope": scope}
    )
    seconds = str(-(-retry_after_ms // 1000))
    error.metadata = {
        "retry-after": seconds,
        "x-ratelimit-retry-after": seconds,
        "x-ratelimit-scope": scope,
    }
    return error
