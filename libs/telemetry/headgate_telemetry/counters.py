"""What is counted of every call (requirement OPS-5): requests, latencies, tokens, cost, attempts."""

from headgate_telemetry.attributes import http_method
from headgate_telemetry.metrics import LabelBound, Metrics
from headgate_telemetry.record import CallRecord, EdgeRecord

ACCOUNT_LIMIT = 1000
"""Accounts with a label of their own; later ones are `other`, so that users cannot grow the metrics."""


class CallCounters:
    """Registers the families of calls and adds finished records to them."""

    def __init__(self, metrics: Metrics, account_limit: int = ACCOUNT_LIMIT) -> None:
        self._account = LabelBound(account_limit)
        self._requests = metrics.tally(
            "headgate_requests_total", "RPCs by error reason, OK for none.", ("service", "method", "reason")
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
        self._requests.add((call.service, call.method, call.reason or "OK"))
        self._seconds.observe((call.service, call.method), (call.ended_ns - call.started_ns) / 1e9)
        if call.input_tokens or call.output_tokens or call.cost_nano_usd:
            self._count_use(call)
        if call.first_token_ns:
            waited = (call.first_token_ns - call.started_ns) / 1e9
            self._first_token.observe((call.model, call.provider), waited)
        for attempt in call.attempts:
            ended_ns = attempt.ended_ns or call.ended_ns
            outcome = attempt.reason or "OK"
            self._attempts.add((attempt.provider, attempt.model, outcome))
            self._attempt_seconds.observe((attempt.provider,), (ended_ns - attempt.started_ns) / 1e9)

    def _count_use(self, call: CallRecord) -> None:
        user = (call.model, call.provider, self._account(call.account_id))
        self._tokens.add((*user, "input"), call.input_tokens)
        self._tokens.add((*user, "output"), call.output_tokens)
        self._cost.add(user, call.cost_nano_usd / 1e9)

    def count_edge(self, edge: EdgeRecord) -> None:
        """Add one finished HTTP request; one that matched no route counts under the route `unmatched`."""
        method, route = http_method(edge.method), edge.route or "unmatched"
        self._http_requests.add((method, route, str(edge.http_status)))
        self._http_seconds.observe((method, route), (edge.ended_ns - edge.started_ns) / 1e9)
