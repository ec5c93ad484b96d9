"""HeadgateError on the wire: google.rpc.Status with ErrorInfo in `grpc-status-details-bin`, the way gRPC
clients of any language read it."""

from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from headgate_rpc.errors import (
    HeadgateError,
    Reason,
    deadline_exceeded,
)

DOMAIN: Final = "headgate"


def details_of(error: HeadgateError) -> bytes:
    """The serialised google.rpc.Status of an error."""
    metadata = dict(error.details)
    if error.field is not None:
        metadata["field"] = error.field
    if error.retry_after_ms is not None:
        metadata["retry_after_ms"] = str(error.retry_after_ms)
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata))
    code: int = error.condition.status.value[0]
    status = status_pb2.Status(code=code, message=error.message, details=[info])
    serialised: bytes = status.SerializeToString()
    return serialised


def trailing_metadata_of(error: HeadgateError) -> tuple[tuple[str, str | bytes], ...]:
    """Everything that goes out with a failed call: its reply metadata and the details."""
    return (*error.metadata.items(), (GRPC_DETAILS_METADATA_KEY, details_of(error)))


def is_lost(fault: grpc.aio.AioRpcError) -> bool:
    """Whether nobody has answered the call: the peer went away, or let go of it while it stopped (grpc.aio says
    CANCELLED then). A refusal by the service itself has our details and is an answer. A call that its caller
    cancelled raises asyncio.CancelledError and never comes here."""
    if fault.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return False
    return all(key != GRPC_DETAILS_METADATA_KEY for key, _ in fault.trailing_metadata() or ())


def error_of(fault: Any) -> HeadgateError:
    """What a failed call of ours means. A status without our details is trouble of the transport: it must
    never look like an answer (a proxy's NOT_FOUND is not ours). `fault` is the RpcError of either API."""
    metadata = {**text_of(fault.initial_metadata()), **text_of(fault.trailing_metadata())}
    for key, value in fault.trailing_metadata() or ():
        if key == GRPC_DETAILS_METADATA_KEY:
            error = _parse(value if isinstance(value, bytes) else value.encode("latin-1"))
            if error is not None:
                error.metadata = metadata
                return error
    return _transport_fault(fault.code())


def _parse(details: bytes) -> HeadgateError | None:
    try:
        status = status_pb2.Status.FromString(details)
    except DecodeError:
        return None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in Reason.__members__:
            metadata = dict(info.metadata)
            field = metadata.pop("field", None)
            retry_after = metadata.pop("retry_after_ms", None)
            return HeadgateError(
                Reason(info.reason),
                status.message,
                field=field,
                retry_after_ms=None if retry_after is None else int(retry_after),
                details=metadata,
            )
    return None


def _transport_fault(code: grpc.StatusCode) -> HeadgateError:
    """Whatever the transport calls it, the caller can only try again later; but a deadline is the caller's own."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return deadline_exceeded()
    return HeadgateError(
        Reason.SERVICE_UNAVAILABLE, "A part of the suite cannot be reached.", retry_after_ms=1000
    )


def text_of(metadata: Any) -> dict[str, str]:
    """The text among the metadata of a call, which may be None."""
    return {k: v for k, v in metadata or () if isinstance(v, str)}
