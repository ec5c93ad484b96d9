"""What is counted of every call (requirements OPS-4, OPS-5): requests, latencies, use of limits, tokens, cost,
attempts. Labels whose values come from outside are bounded, each."""

from headgate_telemetry.attributes import HTTP_STATUS, http_method
from headgate_telemetry.metrics import OTHER, LabelBound, Metrics
from headgate_telemetry.record import AttemptRecord, CallRecord, EdgeRecord

ACCOUNT_LIMIT = 1000
"""Accounts with a label of their own; later ones are `other`, so that users cannot grow the metrics."""

KEY_LIMIT = 1000
"""API keys with a label of their own."""

MODEL_LIMIT = 1000
"""Models with a label of their own: those of the catalogue, which users may add to."""

PROVIDER_LIMIT = 200
"""Providers with a label of their own."""

_RATE_LIMITED = "RATE_LIMIT_EXCEEDED"
# The class of status that a reason becomes over HTTP, such as 4xx.
_STATUS_CLASS = {reason: f"{status // 100}xx" for reason, status in HTTP_STATUS.items()}


class CallCounters:
    """Registers the families of calls and adds finished records to them."""

    def __init__(self, metrics: Metrics, account_limit: int = ACCOUNT_LIMIT) -> None:
        self._account = LabelBound(account_limit)
        self._key = LabelBound(KEY_LIMIT)
        self._model = LabelBound(MODEL_LIMIT)
        self._provider = LabelBound(PROVIDER_LIMIT)
        self._requests = metrics.tally(
            "headgate_requests_total",
            "RPCs by class of HTTP status and error reason, OK for none.",
            ("service", "method", "status_class", "reason"),
        )
        self._key_requests = metrics.tally(
            "headgate_key_requests_total",
            "RPCs by API key, and whether a rate limit refused them.",
            ("key", "result"),
        )
        self._key_left = metrics.level(
            "headgate_key_requests_left_ratio",
            "What was left of an API key's request limit at its last RPC, 0 to 1.",
            ("key",),
        )
        self._seconds = metrics.distribution(
            "headgate_request_seconds", "Duration of RPCs, streams to their end.", ("service", "method")
        )
        self._http_requests = metrics.tally(
            "headgate_http_requests_total", "HTTP requests.", ("method", "route", "status")
        )
        self._http_seconds = metrics.distribution(
            "headgate_http_request_seconds", "Duration of HTTP requests.", ("method", "route")
        )
        by_use = ("model", "provider", "account")
        self._tokens = metrics.tally("headgate_tokens_total", "Tokens.", (*by_use, "type"))
        self._cost = metrics.tally("headgate_cost_usd_total", "Cost in USD.", by_use)
        self._first_token = metrics.distribution(
            "headgate_first_token_seconds", "Time to the first token.", ("model", "provider")
        )
        self._attempts = metrics.tally(
            "headgate_attempts_total", "Tries at providers.", ("provider", "model", "outcome")
        )
        self._attempt_seconds = metrics.distribution(
            "headgate_attempt_seconds", "Duration of tries at providers.", ("provider",)
        )

    def count_call(self, call: CallRecord) -> None:
        """Add one finished RPC and its attempts."""
        reason = call.reason
        status_class = _STATUS_CLASS.get(reason, "5xx")
        self._requests.add((call.service, call.method, status_class, reason or "OK"))
        self._seconds.observe((call.service, call.method), (call.ended_ns - call.started_ns) / 1e9)
        if call.key_prefix:
            self._count_key(call)
        if call.input_tokens or call.output_tokens or call.cost_nano_usd:
            self._count_use(call)
        if call.first_token_ns:
            waited = (call.first_token_ns - call.started_ns) / 1e9
            self._first_token.observe((self._model[call.model], self._provider[call.provider]), waited)
        for attempt in call.attempts:
            self._count_attempt(attempt, attempt.ended_ns or call.ended_ns)

    def _count_attempt(self, attempt: AttemptRecord, ended_ns: int) -> None:
        provider = self._provider[attempt.provider]
        self._attempts.add((provider, self._model[attempt.model], attempt.reason or "OK"))
        self._attempt_seconds.observe((provider,), (ended_ns - attempt.started_ns) / 1e9)

    def _count_key(self, call: CallRecord) -> None:
        key = self._key[call.key_prefix]
        self._key_requests.add((key, "refused" if call.reason == _RATE_LIMITED else "admitted"))
        # One ratio for all other keys would mean nothing.
        if call.request_limit.isdecimal() and call.requests_left.isdecimal() and key is not OTHER:
            self._key_left.set((key,), int(call.requests_left) / (int(call.request_limit) or 1))

    def _count_use(self, call: CallRecord) -> None:
        user = (self._model[call.model], self._provider[call.provider], self._account[call.account_id])
        self._tokens.add((*user, "input"), call.input_tokens)
        self._tokens.add((*user, "output"), call.output_tokens)
        self._cost.add(user, call.cost_nano_usd / 1e9)

    def count_edge(self, edge: EdgeRecord) -> None:
        """Add one finished HTTP request; one that matched no route counts under the route `unmatched`."""
        method, route = http_method(edge.method), edge.route or "unmatched"
        self._http_requests.add((method, route, str(edge.http_status)))
        self._http_seconds.observe((method, route), (edge.ended_ns - edge.started_ns) / 1e9)
