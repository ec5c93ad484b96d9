"""Why an attempt failed: what the caller is told, and whether another provider may be tried."""

from headgate_rpc.errors import HeadgateError, Reason


class AttemptFault(Exception):
    """One attempt has failed.

    `retryable` says that another candidate may do better; `repeatable` that the same one may (the connection was
    stale, nothing was answered). `blames_provider` is false when the request itself was at fault. `http_status` is
    0 without an answer.
    """

    def __init__(
        self,
        error: HeadgateError,
        *,
        http_status: int = 0,
        retryable: bool = True,
        repeatable: bool = False,
        blames_provider: bool = True,
    ) -> None:
        super().__init__(error.message)
        self._error = error
        self.http_status = http_status
        self.retryable = retryable
        self.repeatable = repeatable
        self.blames_provider = blames_provider

    @property
    def error(self) -> HeadgateError:
        """What the caller sees if no other attempt saves the call; to be raised from this fault. A new one each time:
        one that had this fault as its cause and in it would keep the call until the collector comes."""
        error = self._error
        return HeadgateError(
            error.reason,
            error.message,
            field=error.field,
            retry_after_ms=error.retry_after_ms,
            details=error.details,
        )

    @property
    def timed_out(self) -> bool:
        """Whether a timer of ours ended the attempt."""
        return self._error.reason is Reason.UPSTREAM_TIMEOUT


def unreachable() -> AttemptFault:
    """No connection to the provider."""
    return AttemptFault(HeadgateError(Reason.PROVIDER_UNAVAILABLE, "The provider cannot be reached."))


def disconnected() -> AttemptFault:
    """The connection ended before any answer."""
    error = HeadgateError(Reason.UPSTREAM_ERROR, "The provider closed the connection without an answer.")
    return AttemptFault(error, repeatable=True)


def unusable(http_status: int = 200) -> AttemptFault:
    """The provider's answer makes no sense."""
    error = HeadgateError(Reason.UPSTREAM_ERROR, "The provider's answer is unusable.")
    return AttemptFault(error, http_status=http_status)


def cut(http_status: int = 200) -> AttemptFault:
    """The provider stopped in the middle of a stream."""
    error = HeadgateError(Reason.UPSTREAM_ERROR, "The provider ended the stream early.")
    return AttemptFault(error, http_status=http_status)


def timed_out(http_status: int = 0) -> AttemptFault:
    """The provider did not answer, or not go on, in time."""
    error = HeadgateError(Reason.UPSTREAM_TIMEOUT, "The provider did not answer in time.")
    return AttemptFault(error, http_status=http_status)


def not_offered(field: str, model: str) -> AttemptFault:
    """The request asks for what this model cannot do."""
    message = f"The model {model!r} does not support {field!r}."
    error = HeadgateError(Reason.UNSUPPORTED_PARAMETER, message, field=field)
    return AttemptFault(error, retryable=False, blames_provider=False)
