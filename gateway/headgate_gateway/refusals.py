"""Replies to what is no HTTP request, so that no exchange can be made of it."""

import time

from headgate_clock import uuid7
from headgate_gateway.envelope import error_reply
from headgate_gateway.exchange import API_VERSION, JSON, Edge
from headgate_gateway.strict_json import malformed
from headgate_rpc.call import request_id_or_new
from headgate_telemetry.record import EdgeRecord
from headgate_telemetry.trace import continue_trace

# RFC 9110's word for a method that is not known.
_METHOD = "_OTHER"


class Refusals:
    """Makes the bytes of such a reply, and its record."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def __call__(self, message: str, client_address: str) -> bytes:
        """A whole HTTP/1.1 response with the hub envelope, after which the connection is closed."""
        error = malformed(message)
        reply = error_reply(error)
        call_id = uuid7(self._edge.clock)
        now = time.time_ns()
        record = EdgeRecord(
            method=_METHOD,
            route="",
            request_id=request_id_or_new(None, call_id),
            trace=continue_trace(None),
            started_ns=now,
            ended_ns=now,
            http_status=reply.status,
            client_address=client_address,
            reason=error.reason.value,
        )
        self._edge.observer(record)
        head = (
            "HTTP/1.1 400 Bad Request\r\nserver: headgate\r\nconnection: close\r\n"
            f"content-type: {JSON}\r\ncontent-length: {len(reply.body)}\r\nx-api-version: {API_VERSION}\r\n"
            f"x-request-id: {record.request_id}\r\nx-call-id: {call_id}\r\nx-response-time-ms: 0\r\n\r\n"
        )
        return head.encode() + reply.body
