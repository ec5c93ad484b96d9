"""The refusals of auth."""

from headgate_rpc.errors import HeadgateError, Reason


def invalid(field: str, problem: str) -> HeadgateError:
    """A field of the request that cannot be used."""
    return HeadgateError(Reason.INVALID_REQUEST, f"Field '{field}' {problem}.", field=field)


def forbidden(message: str) -> HeadgateError:
    """The caller may do this kind of thing, but not this one."""
    return HeadgateError(Reason.FORBIDDEN, message)


def no_such_key() -> HeadgateError:
    """The same for a key that is unknown and for one of another account."""
    return HeadgateError(Reason.NOT_FOUND, "There is no such key.", field="key_id")


def no_such_account() -> HeadgateError:
    """The same for an account that is unknown and for one the caller may not see."""
    return HeadgateError(Reason.NOT_FOUND, "There is no such account.", field="account_id")


def invalid_key() -> HeadgateError:
    """One answer for noise, an unknown id, a wrong secret and a revoked key, so that none can be told."""
    return HeadgateError(Reason.INVALID_CREDENTIALS, "The API key is not valid.")


def expired_key() -> HeadgateError:
    """The key was right and its time is over."""
    return HeadgateError(Reason.TOKEN_EXPIRED, "The API key has expired.")
