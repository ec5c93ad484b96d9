"""What can be wrong with a store."""

from headgate_rpc.errors import HeadgateError, Reason

RETRY_AFTER_MS = 1000


class StoreError(Exception):
    """A store that cannot be used; the message is one line for the operator and names the store."""


class StoreAwayError(StoreError, HeadgateError):
    """The database does not answer now, and nothing was written. It leaves a service as SERVICE_UNAVAILABLE:
    "don't know" is another answer than "no"."""

    def __init__(self) -> None:
        # For callers, so without the name of the store; what happened is logged where it is noticed.
        message = "The store cannot be reached at the moment."
        HeadgateError.__init__(self, Reason.SERVICE_UNAVAILABLE, message, retry_after_ms=RETRY_AFTER_MS)


class OutcomeUnknownError(StoreAwayError):
    """The connection was lost during a commit: the write is there as a whole or not at all. Whoever repeats it
    must be able to find out, for instance by a key that it writes."""


class ConflictError(StoreAwayError):
    """The database gave up this transaction in favour of another one, several times; nothing was written."""
