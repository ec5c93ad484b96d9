"""The one error table. A fault is raised as `HeadgateError` with a reason; the table says which gRPC status,
HTTP status and family codes the reason has (requirements ERR-20 to ERR-47)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from grpc import StatusCode


class Reason(StrEnum):
    """The conditions of proto/headgate/errors/v1, by the name that travels in ErrorInfo."""

    INVALID_REQUEST = "INVALID_REQUEST"
    CONTEXT_LENGTH_EXCEEDED = "CONTEXT_LENGTH_EXCEEDED"
    CONTENT_FILTERED = "CONTENT_FILTERED"
    UNAUTHORIZED = "UNAUTHORIZED"
    INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a reason, not a password
    FORBIDDEN = "FORBIDDEN"
    IP_NOT_ALLOWED = "IP_NOT_ALLOWED"
    NOT_FOUND = "NOT_FOUND"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    UPSTREAM_ERROR = "UPSTREAM_ERROR"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    UPSTREAM_TIMEOUT = "UPSTREAM_TIMEOUT"
    UNSUPPORTED_PARAMETER = "UNSUPPORTED_PARAMETER"
    IDEMPOTENCY_OUTCOME_UNKNOWN = "IDEMPOTENCY_OUTCOME_UNKNOWN"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Condition:
    """How one reason shows on each surface; `partner_code` is document A's number."""

    status: StatusCode
    http: int
    hub_type: str
    hub_code: str
    partner_code: int


def _request(
    http: int, code: str, status: StatusCode = StatusCode.INVALID_ARGUMENT, partner: int = 1001
) -> Condition:
    return Condition(status, http, "invalid_request_error", code, partner)


def _limit(code: str) -> Condition:
    return Condition(StatusCode.RESOURCE_EXHAUSTED, 429, "rate_limit_error", code, 1005)


def _caller(http: int, code: str) -> Condition:
    if http == 401:
        return Condition(StatusCode.UNAUTHENTICATED, 401, "authentication_error", code, 1002)
    return Condition(StatusCode.PERMISSION_DENIED, 403, "permission_error", code, 1003)


def _ours(status: StatusCode, http: int, code: str) -> Condition:
    return Condition(status, http, "api_error", code, 1006)


def _model(status: StatusCode, http: int, code: str) -> Condition:
    return Condition(status, http, "model_error", code, 1006)


CONDITIONS: Mapping[Reason, Condition] = {
    Reason.INVALID_REQUEST: _request(400, "invalid_request"),
    Reason.CONTEXT_LENGTH_EXCEEDED: _request(400, "context_length_exceeded"),
    Reason.CONTENT_FILTERED: _request(400, "content_filter"),
    Reason.UNSUPPORTED_PARAMETER: _request(400, "unsupported_parameter"),
    Reason.UNAUTHORIZED: _caller(401, "missing_api_key"),
    Reason.INVALID_CREDENTIALS: _caller(401, "invalid_api_key"),
    Reason.TOKEN_EXPIRED: _caller(401, "token_expired"),
    Reason.FORBIDDEN: _caller(403, "insufficient_permissions"),
    Reason.IP_NOT_ALLOWED: _caller(403, "ip_not_allowed"),
    Reason.NOT_FOUND: _request(404, "not_found", StatusCode.NOT_FOUND, 1004),
    Reason.MODEL_NOT_FOUND: _request(404, "model_not_found", StatusCode.NOT_FOUND, 1004),
    Reason.METHOD_NOT_ALLOWED: _request(405, "method_not_allowed", StatusCode.UNIMPLEMENTED),
    Reason.CONFLICT: _request(409, "conflict", StatusCode.ABORTED),
    Reason.IDEMPOTENCY_OUTCOME_UNKNOWN: _request(409, "idempotency_outcome_unknown", StatusCode.ABORTED),
    Reason.PAYLOAD_TOO_LARGE: _request(413, "payload_too_large"),
    Reason.UNSUPPORTED_MEDIA_TYPE: _request(415, "unsupported_media_type"),
    Reason.RATE_LIMIT_EXCEEDED: _limit("rate_limit_exceeded"),
    Reason.QUOTA_EXCEEDED: _limit("insufficient_quota"),
    Reason.BUDGET_EXCEEDED: _limit("budget_exceeded"),
    Reason.CANCELLED: Condition(StatusCode.CANCELLED, 499, "api_error", "cancelled", 1006),
    Reason.INTERNAL_ERROR: _ours(StatusCode.INTERNAL, 500, "internal_error"),
    Reason.NOT_IMPLEMENTED: _ours(StatusCode.UNIMPLEMENTED, 501, "not_implemented"),
    Reason.UPSTREAM_ERROR: _model(StatusCode.INTERNAL, 502, "upstream_error"),
    Reason.PROVIDER_UNAVAILABLE: _ours(StatusCode.UNAVAILABLE, 503, "upstream_unavailable"),
    Reason.SERVICE_UNAVAILABLE: _ours(StatusCode.UNAVAILABLE, 503, "service_unavailable"),
    Reason.OVERLOADED: _ours(StatusCode.UNAVAILABLE, 503, "overloaded"),
    Reason.UPSTREAM_TIMEOUT: _model(StatusCode.DEADLINE_EXCEEDED, 504, "upstream_timeout"),
    Reason.DEADLINE_EXCEEDED: _ours(StatusCode.DEADLINE_EXCEEDED, 504, "deadline_exceeded"),
}


class HeadgateError(Exception):
    """A refusal or a failure with a reason, equal on both transports.

    `message` is for the caller: no secrets, no host names, no provider text. `field` is the path of the
    offending request field. `metadata` holds reply metadata that goes out with it (limits, ids).
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str | None = None,
        retry_after_ms: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.retry_after_ms = retry_after_ms
        self.details: Mapping[str, str] = details or {}
        self.metadata: dict[str, str] = {}

    @property
    def condition(self) -> Condition:
        """How the reason shows on each surface."""
        return CONDITIONS[self.reason]

    def __repr__(self) -> str:
        return f"HeadgateError({self.reason}, {self.message!r}, field={self.field!r})"


def internal_error() -> HeadgateError:
    """The bare answer to an unknown fault; what happened stands in the log under the request id."""
    return HeadgateError(Reason.INTERNAL_ERROR, "Internal error.")


def cancelled() -> HeadgateError:
    """The caller went away."""
    return HeadgateError(Reason.CANCELLED, "The caller went away.")


def deadline_exceeded() -> HeadgateError:
    """The caller's own deadline passed."""
    return HeadgateError(Reason.DEADLINE_EXCEEDED, "The deadline passed before the call was done.")
