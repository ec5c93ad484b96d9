"""What is remembered of a call while it runs. Plain slots, filled in place by whoever knows the fact; the
recorder turns them into log lines, spans and counters later, in batches, because doing it in the request
costs several times the request itself."""

from msgspec import Struct, field


class TraceContext(Struct, gc=False):
    """Position in a W3C trace: ids in lower-case hex (32 and 16 digits); `parent_span_id` is empty at a root."""

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    sampled: bool = True


class AttemptRecord(Struct, gc=False):
    """One try at one provider. Times are Unix nanoseconds; `http_status` 0 means no answer came."""

    number: int
    provider: str
    model: str
    upstream_id: str
    trace: TraceContext
    started_ns: int
    ended_ns: int = 0
    server_address: str = ""
    http_status: int = 0
    outcome: str = ""
    reason: str = ""


class CallRecord(Struct, gc=False):
    """One RPC as its service saw it. Times are Unix nanoseconds, 0 where they do not apply; `reason` is empty
    for a success, else the name of the error reason. `internal` is for calls of one part of the suite to
    another that no user made (watches, leases, usage): they are counted, and logged only when they fail."""

    service: str
    method: str
    endpoint: str
    request_id: str
    trace: TraceContext
    started_ns: int
    ended_ns: int = 0
    call_id: str = ""
    account_id: str = ""
    principal_id: str = ""
    key_prefix: str = ""
    client_address: str = ""
    internal: bool = False
    reason: str = ""
    message: str = ""
    # Numbers as the caller is told them; empty where no limit was looked at.
    request_limit: str = ""
    requests_left: str = ""
    # Filled by inference alone.
    operation: str = ""
    requested_model: str = ""
    model: str = ""
    provider: str = ""
    streamed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    estimated: bool = False
    outcome: str = ""
    finish_reasons: tuple[str, ...] = ()
    first_token_ns: int = 0
    attempts: list[AttemptRecord] = field(default_factory=list)


class EdgeRecord(Struct, gc=False):
    """One HTTP request as the gateway saw it. `reached_service` tells whether a service has written (or will
    write) the request's log line; if not, the recorder writes it from here."""

    method: str
    route: str
    request_id: str
    trace: TraceContext
    started_ns: int
    ended_ns: int = 0
    http_status: int = 0
    client_address: str = ""
    reason: str = ""
    reached_service: bool = False
