"""What spans have in common: the names and attributes that repeat from call to call and are encoded once per
combination. What is different in each span is written by `spans.py`."""

from collections.abc import Mapping

from headgate_rpc.errors import CONDITIONS, Reason
from headgate_telemetry import genai
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord

Value = str | bool | int | float | tuple[str, ...]
Attributes = dict[str, Value]

GRPC_STATUS: Mapping[str, int] = {"": 0} | {
    reason.value: condition.status.value[0] for reason, condition in CONDITIONS.items()
}
"""gRPC status number by the reason's name; no reason is OK."""

HTTP_STATUS: Mapping[str, int] = {"": 200} | {
    reason.value: condition.http for reason, condition in CONDITIONS.items()
}
"""HTTP status by the reason's name; no reason is 200."""

UNKNOWN = 2
"""gRPC status of a reason that is not in the table."""

HTTP_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})

CANCELLED = Reason.CANCELLED.value


def http_method(method: str) -> str:
    """`method`, or `_OTHER` for one that HTTP does not know: callers can send any word."""
    return method if method in HTTP_METHODS else "_OTHER"


def edge_name(edge: EdgeRecord) -> str:
    """`POST /v1/chat/completions`, or the method alone where no route matched."""
    method = http_method(edge.method)
    return f"{method} {edge.route}" if edge.route else method


def edge_fixed(edge: EdgeRecord) -> Attributes:
    """Attributes that HTTP server spans share."""
    attributes: Attributes = {
        genai.HTTP_REQUEST_METHOD: http_method(edge.method),
        genai.URL_SCHEME: "http",
        genai.HTTP_RESPONSE_STATUS_CODE: edge.http_status,
    }
    if edge.route:
        attributes[genai.HTTP_ROUTE] = edge.route
    if edge.reason or edge.http_status >= 500:
        attributes[genai.ERROR_TYPE] = edge.reason or str(edge.http_status)
    return attributes


def call_name(call: CallRecord) -> str:
    """`package.Service/Method`."""
    return f"{call.service}/{call.method}"


def call_fixed(call: CallRecord) -> Attributes:
    """Attributes that RPC server spans share."""
    attributes: Attributes = {
        genai.RPC_SYSTEM: "grpc",
        genai.RPC_SERVICE: call.service,
        genai.RPC_METHOD: call.method,
        genai.RPC_GRPC_STATUS_CODE: GRPC_STATUS.get(call.reason, UNKNOWN),
        genai.ENDPOINT: call.endpoint,
    }
    if call.reason:
        attributes[genai.ERROR_TYPE] = call.reason
    if call.operation:
        _add_generation(call, attributes)
    return attributes


def _add_generation(call: CallRecord, attributes: Attributes) -> None:
    attributes[genai.GEN_AI_OPERATION_NAME] = call.operation
    attributes[genai.GEN_AI_REQUEST_MODEL] = call.requested_model
    attributes[genai.GEN_AI_REQUEST_STREAM] = call.streamed
    attributes[genai.ESTIMATED] = call.estimated
    if call.model:
        attributes[genai.GEN_AI_RESPONSE_MODEL] = call.model
    if call.provider:
        attributes[genai.GEN_AI_PROVIDER_NAME] = call.provider
    if call.finish_reasons:
        attributes[genai.GEN_AI_RESPONSE_FINISH_REASONS] = call.finish_reasons
    if call.outcome:
        attributes[genai.OUTCOME] = call.outcome


def attempt_name(call: CallRecord, attempt: AttemptRecord) -> str:
    """`chat <model>`, with the operation of the call."""
    return f"{call.operation or 'chat'} {attempt.model}"


def attempt_fixed(call: CallRecord, attempt: AttemptRecord) -> Attributes:
    """Attributes of the client span of one try at one provider."""
    attributes: Attributes = {
        genai.GEN_AI_OPERATION_NAME: call.operation or "chat",
        genai.GEN_AI_PROVIDER_NAME: attempt.provider,
        genai.GEN_AI_REQUEST_MODEL: attempt.model,
        genai.UPSTREAM_ID: attempt.upstream_id,
        genai.ATTEMPT_NUMBER: attempt.number,
    }
    if attempt.server_address:
        attributes[genai.SERVER_ADDRESS] = attempt.server_address
    if attempt.http_status:
        attributes[genai.HTTP_RESPONSE_STATUS_CODE] = attempt.http_status
    if attempt.outcome:
        attributes[genai.OUTCOME] = attempt.outcome
    if attempt.reason:
        attributes[genai.ERROR_TYPE] = attempt.reason
    return attributes
