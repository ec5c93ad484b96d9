"""What an OpenAI-style provider's refusal means for our caller. Provider text never leaves: it may quote keys,
hosts or the prompt; what is kept is the kind of error and the name of the parameter."""

import re

import msgspec

from headgate_inference.extras import Fields, decode
from headgate_inference.faults import AttemptFault, timed_out
from headgate_rpc.errors import HeadgateError, Reason

_text = msgspec.json.Decoder(str | int | None).decode
_object = msgspec.json.Decoder(Fields).decode

_PARAM = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")
_TOO_LONG = re.compile(
    r"context[ _](length|window)|maximum (context|.{0,20}tokens)|too many (input )?tokens", re.I
)
_LONGEST_WAIT_S = 3600


def refusal(status: int, body: bytes, retry_after: str) -> AttemptFault:
    """The fault that an answer with this status means; `retry_after` is the header's value."""
    if status in (400, 413, 422):
        return _bad_request(status, body)
    if status in (401, 403):
        return _unavailable(status, "The provider does not accept this installation's credential.", "")
    if status == 404:
        return _failed(status, "The provider does not offer this model.")
    if status in (408, 504):
        return timed_out(status)
    if status == 429:
        return _unavailable(status, "The provider limits this installation's requests.", retry_after)
    return _failed(status, "The provider answered with an error.")


def spoken(fields: Fields, status: int) -> AttemptFault:
    """The fault that an error object in a reply or stream with a good status means."""
    code, _, message = _details(fields)
    if code == "context_length_exceeded" or _TOO_LONG.search(message):
        return _too_long(status)
    return _failed(status, "The provider answered with an error.")


def _bad_request(status: int, body: bytes) -> AttemptFault:
    try:
        code, param, message = _details(decode(body))
    except (ValueError, RecursionError):
        code = param = message = ""
    field = param if _PARAM.fullmatch(param) else None
    if code in ("context_length_exceeded", "string_above_max_length") or _TOO_LONG.search(message):
        return _too_long(status)
    if code in ("content_filter", "content_policy_violation"):
        return _callers(
            status, Reason.CONTENT_FILTERED, "The provider's content filter refused the request.", None
        )
    named = f" {field!r}" if field else ""
    if code in ("unsupported_parameter", "unsupported_value"):
        text = f"The model does not support the parameter{named}."
        return _callers(status, Reason.UNSUPPORTED_PARAMETER, text, field)
    if status == 413:
        return _callers(status, Reason.PAYLOAD_TOO_LARGE, "The request is too large for the provider.", None)
    text = (
        f"The provider refused the request's{named}."
        if field
        else "The provider refused the request as invalid."
    )
    return _callers(status, Reason.INVALID_REQUEST, text, field)


def _details(fields: Fields) -> tuple[str, str, str]:
    """`code`, `param` and `message` of an error body, nested as OpenAI has it, or flat as others do."""
    raw = fields.get("error")
    if raw is not None and bytes(raw).startswith(b"{"):
        fields = _object(raw)
    elif raw is not None:
        return "", "", _word(raw)
    code, param, message = (_word(fields.get(name)) for name in ("code", "param", "message"))
    return code, param, message


def _word(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return ""
    try:
        return str(_text(raw) or "")
    except (ValueError, RecursionError):
        return ""


def _too_long(status: int) -> AttemptFault:
    text = "The input is longer than the model's context window."
    return _callers(status, Reason.CONTEXT_LENGTH_EXCEEDED, text, "messages")


def _callers(status: int, reason: Reason, text: str, field: str | None) -> AttemptFault:
    error = HeadgateError(reason, text, field=field)
    return AttemptFault(error, http_status=status, retryable=False, blames_provider=False)


def _failed(status: int, text: str) -> AttemptFault:
    return AttemptFault(HeadgateError(Reason.UPSTREAM_ERROR, text), http_status=status)


def _unavailable(status: int, text: str, retry_after: str) -> AttemptFault:
    wait_ms = None
    if retry_after.isascii() and retry_after.isdigit():
        wait_ms = 1000 * min(int(retry_after[:9]), _LONGEST_WAIT_S)
    error = HeadgateError(Reason.PROVIDER_UNAVAILABLE, text, retry_after_ms=wait_ms)
    return AttemptFault(error, http_status=status)
