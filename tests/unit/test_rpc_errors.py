"""The error table is whole: every reason of the contract has a row, and survives the wire."""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from headgate.errors.v1 import errors_pb2
from headgate_rpc.errors import CONDITIONS, HeadgateError, Reason
from headgate_rpc.status import error_of, trailing_metadata_of

HUB_TYPES = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "api_error",
    "model_error",
}


def test_reasons_are_those_of_the_contract() -> None:
    names = {
        name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name
    } - {"UNSPECIFIED"}
    assert names == {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_row_with_one_of_the_six_types(reason: Reason) -> None:
    condition = CONDITIONS[reason]
    assert condition.hub_type in HUB_TYPES
    assert 400 <= condition.http < 600
    assert 1001 <= condition.partner_code <= 1006


@pytest.mark.parametrize("reason", list(Reason))
def test_an_error_survives_the_wire_whole(reason: Reason) -> None:
    sent = HeadgateError(
        reason, "words", field="messages[0].role", retry_after_ms=1500, details={"scope": "ip"}
    )
    sent.metadata = {"x-ratelimit-limit": "10"}
    trailing = Metadata(*trailing_metadata_of(sent))
    got = error_of(AioRpcError(CONDITIONS[reason].status, Metadata(), trailing, "words"))
    assert (got.reason, got.message, got.field, got.retry_after_ms, dict(got.details)) == (
        reason,
        "words",
        "messages[0].role",
        1500,
        {"scope": "ip"},
    )
    assert got.metadata["x-ratelimit-limit"] == "10"


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
    ],
)
def test_a_status_that_is_not_ours_never_looks_like_an_answer(code: grpc.StatusCode) -> None:
    error = error_of(AioRpcError(code, Metadata(), Metadata(), "from a proxy"))
    assert (error.reason, error.retry_after_ms) == (Reason.SERVICE_UNAVAILABLE, 1000)
    assert "proxy" not in error.message


def test_damaged_details_are_no_details() -> None:
    trailing = Metadata(("grpc-status-details-bin", b"\xff\xff"))
    error = error_of(AioRpcError(grpc.StatusCode.NOT_FOUND, Metadata(), trailing, "no"))
    assert error.reason is Reason.SERVICE_UNAVAILABLE
