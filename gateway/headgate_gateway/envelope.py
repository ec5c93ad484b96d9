"""How a fault looks to a client of the hub family (ERR-4 to ERR-9): one function for every reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import msgspec

from headgate_gateway.languages import translate
from headgate_rpc.errors import HeadgateError, Reason

# Reasons that belong to one field whatever the service said.
_FIELDS: Mapping[Reason, str] = {Reason.MODEL_NOT_FOUND: "model"}
# Limits that waiting a minute does not lift; SDKs read the header (ERR-35, ERR-36).
_HOPELESS = frozenset({Reason.QUOTA_EXCEEDED, Reason.BUDGET_EXCEEDED})
_WAIT_HEADERS = ("retry-after", "x-ratelimit-retry-after")


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error ready to be sent: HTTP status, JSON body, headers with lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def error_reply(error: HeadgateError, language: str = "") -> ErrorReply:
    """The reply to a request that failed; `language` (`en`, `de`, `es`) is empty where texts stay as they are."""
    status = error.condition.http
    headers = {k: v for k, v in error.metadata.items() if k not in _WAIT_HEADERS}
    if language:
        headers["content-language"] = language
    if scope := error.details.get("scope"):
        headers.setdefault("x-ratelimit-scope", scope)
    if error.reason in _HOPELESS:
        headers.setdefault("x-should-retry", "false")
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in (429, 503):
        headers["retry-after"] = str(_wait_seconds(error))
    if status == 429:
        headers["x-ratelimit-retry-after"] = headers["retry-after"]
    return ErrorReply(status, error_body(error, language), headers)


def error_body(error: HeadgateError, language: str = "") -> bytes:
    """The hub envelope as JSON."""
    condition = error.condition
    envelope: dict[str, str | int | None] = {
        "message": translate(error, language),
        "type": condition.hub_type,
        "param": error.field or _FIELDS.get(error.reason),
        "code": condition.hub_code,
    }
    if condition.http == 429:
        envelope["retry_after"] = _wait_seconds(error)
    return msgspec.json.encode({"error": envelope})


def _wait_seconds(error: HeadgateError) -> int:
    if error.retry_after_ms is not None:
        return max(1, ceil(error.retry_after_ms / 1000))
    stated = error.metadata.get("retry-after", "")
    return int(stated) if stated.isdecimal() else 1
