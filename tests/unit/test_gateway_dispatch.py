"""Whatever a request meets, its reply has the ids, the limits and one envelope; what a service is told of it holds
nothing a client could forge."""

import asyncio
import gc
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import httpx2
import pytest
from google.protobuf.message import Message
from structlog.testing import capture_logs

from headgate.inference.v1.inference_pb2 import CheckCallerRequest
from headgate_gateway.app import Clients, build
from headgate_gateway.envelope import error_reply
from headgate_gateway.languages import choose_language
from headgate_gateway.settings import GatewaySettings
from headgate_rpc.errors import CONDITIONS, HeadgateError, Reason
from headgate_settings import Bytes, SettingsError
from headgate_telemetry.record import EdgeRecord
from headgate_testing.clock import FakeClock
from headgate_testing.fake_inference import LIMITS, FakeChannel, completion_for, text_stream

CHAT = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"Authorization": "Bearer sk-hg-k1_test"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Front:
    """A gateway without a socket: its scripted services, its records, a client."""

    channel: FakeChannel = field(default_factory=FakeChannel)
    records: list[EdgeRecord] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def client(
        self, settings: GatewaySettings | None = None, address: str = "198.51.100.7"
    ) -> httpx2.AsyncClient:
        app = build(
            settings or GatewaySettings(),
            Clients.over(self.channel),
            self.records.append,
            lambda: self.failing,
            self.clock,
        )
        transport = httpx2.ASGITransport(app, client=(address, 5))
        return httpx2.AsyncClient(transport=transport, base_url="http://test", headers=KEY)


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
async def client(front: Front) -> AsyncIterator[httpx2.AsyncClient]:
    async with front.client() as made:
        yield made


def envelope(reply: httpx2.Response) -> Mapping[str, object]:
    tree = reply.json()
    assert set(tree) == {"error"}
    assert (
        {"message", "type", "param", "code"}
        <= set(tree["error"])
        <= {"message", "type", "param", "code", "retry_after"}
    )
    return tree["error"]  # type: ignore[no-any-return]


class TestHeaders:
    async def test_every_answer_of_a_service_carries_ids_limits_and_privacy(
        self, client: httpx2.AsyncClient
    ) -> None:
        reply = await client.post("/v1/chat/completions", json=CHAT)
        assert reply.status_code == 200
        assert re.fullmatch(r"req_[0-9a-f]{32}", reply.headers["x-request-id"])
        assert re.fullmatch(
            r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", reply.headers["x-call-id"]
        )
        assert reply.headers["x-api-version"] == "1"
        assert reply.headers["server"] == "headgate"
        assert reply.headers["cache-control"] == "private, no-store"
        assert reply.headers["vary"] == "Authorization"
        assert {name: reply.headers[name] for name in LIMITS} == LIMITS
        assert "access-control-allow-origin" not in reply.headers

    @pytest.mark.parametrize(
        ("sent", "kept"), [("my-id_1", True), ("x" * 64, True), ("x" * 65, False), ("a b", False)]
    )
    async def test_a_request_id_of_the_right_form_is_kept(
        self, front: Front, client: httpx2.AsyncClient, sent: str, kept: bool
    ) -> None:
        reply = await client.post("/v1/chat/completions", json=CHAT, headers={"X-Request-Id": sent})
        assert (reply.headers["x-request-id"] == sent) is kept
        assert front.channel.last.metadata["x-request-id"] == reply.headers["x-request-id"]

    async def test_what_a_service_says_of_a_call_is_shown(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        front.channel.metadata |= {
            "x-model-id": "m",
            "x-cache": "MISS",
            "x-call-id": "the-ledger's",
            "secret": "no",
        }
        reply = await client.post("/v1/chat/completions", json=CHAT)
        assert (reply.headers["x-model-id"], reply.headers["x-cache"]) == ("m", "MISS")
        assert reply.headers.get_list("x-call-id") == ["the-ledger's"]
        assert "secret" not in reply.headers


class TestResponseTime:
    """`X-Response-Time-Ms` (OPS-3): whole milliseconds from the request's arrival to the head of its reply."""

    @pytest.mark.parametrize(("seconds", "shown"), [(0, "0"), (0.0429, "42"), (61.25, "61250")])
    async def test_a_whole_reply_took_until_the_service_had_answered(
        self, front: Front, client: httpx2.AsyncClient, seconds: float, shown: str
    ) -> None:
        def answer(request: Message) -> Message:
            front.clock.advance(seconds)
            return completion_for(request)

        front.channel.answers["Generate"] = answer
        reply = await client.post("/v1/chat/completions", json=CHAT)
        assert reply.headers["x-response-time-ms"] == shown

    async def test_a_stream_took_until_its_head(self, front: Front, client: httpx2.AsyncClient) -> None:
        async def pass_time() -> None:
            front.clock.advance(5)

        front.channel.streams["StreamGenerate"] = [pass_time(), *text_stream("a")]
        reply = await client.post("/v1/chat/stream", json=CHAT)
        assert reply.text.endswith("[DONE]\n\n")
        assert reply.headers["x-response-time-ms"] == "0"

    async def test_an_error_took_time_too(self, front: Front, client: httpx2.AsyncClient) -> None:
        async def fail(_: Message) -> Message:
            front.clock.advance(0.25)
            raise HeadgateError(Reason.UPSTREAM_TIMEOUT, "late")

        front.channel.answers["Generate"] = fail
        reply = await client.post("/v1/chat/completions", json=CHAT)
        assert (reply.status_code, reply.headers["x-response-time-ms"]) == (504, "250")

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/nope", "/v1/models?key=x"])
    async def test_what_no_service_answers_has_it(self, client: httpx2.AsyncClient, path: str) -> None:
        assert (await client.get(path)).headers["x-response-time-ms"] == "0"


class TestMetadata:
    async def test_credentials_trace_and_edge_facts_go_on(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        headers = {"X-API-Key": "k2", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Cache-Mode": "use"}
        reply = await client.post("/v1/chat/completions", json=CHAT, headers=headers)
        told = dict(front.channel.last.metadata)
        record = front.records[-1]
        assert told.pop("traceparent") == f"00-{TRACE}-{record.trace.span_id}-01"
        assert record.trace.parent_span_id == "00f067aa0ba902b7"
        assert told == {
            "authorization": KEY["Authorization"],
            "x-api-key": "k2",
            "x-cache-mode": "use",
            "x-request-id": reply.headers["x-request-id"],
            "x-headgate-call-id": reply.headers["x-call-id"],
            "x-headgate-client-ip": "198.51.100.7",
            "x-headgate-endpoint": "POST /v1/chat/completions",
        }

    async def test_internal_names_from_outside_are_dropped(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        forged = {
            "x-headgate-client-ip": "10.0.0.1",
            "x-headgate-call-id": "mine",
            "x-headgate-suite": "guess",
            "X-Forwarded-For": "10.0.0.1",
            "x_headgate_call_id": "mine",
        }
        await client.post("/v1/chat/completions", json=CHAT, headers=forged)
        told = front.channel.last.metadata
        assert told["x-headgate-client-ip"] == "198.51.100.7"
        assert told["x-headgate-call-id"] != "mine"
        assert not {"x-headgate-suite", "x-forwarded-for", "x_headgate_call_id"} & set(told)

    async def test_behind_a_trusted_proxy_the_forwarded_address_counts(self, front: Front) -> None:
        async with front.client(GatewaySettings(trusted_proxies=("10.0.0.0/8",)), "10.1.2.3") as client:
            await client.get("/healthz", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
        assert front.records[-1].client_address == "203.0.113.9"

    async def test_a_repeated_credential_is_no_credential(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        both = [
            ("Authorization", "Bearer a"),
            ("Authorization", "Bearer b"),
            ("Content-Type", "application/json"),
        ]
        client.headers.pop("Authorization")
        await client.post("/v1/chat/completions", content=json.dumps(CHAT), headers=both)
        assert front.channel.last.metadata["authorization"] == "Bearer a, Bearer b"

    async def test_a_credential_that_is_not_ascii_reaches_the_service_as_ascii(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        await client.post("/v1/chat/completions", json=CHAT, headers=[(b"authorization", b"Bearer \xff\tx")])
        assert front.channel.last.metadata["authorization"].isascii()
        assert "\t" not in front.channel.last.metadata["authorization"]


class TestEdgeRefusals:
    """Made before anyone asks who calls (RATE-15)."""

    @pytest.mark.parametrize(
        "path", ["/", "/v1", "/v1/nope", "/v1/models/", "/v1/keys/a/b", "/api/x", "/v1/ai/y"]
    )
    async def test_an_unknown_path_is_404(self, front: Front, client: httpx2.AsyncClient, path: str) -> None:
        reply = await client.get(path)
        assert (reply.status_code, envelope(reply)["code"]) == (404, "not_found")
        assert front.channel.asked == []
        assert "x-ratelimit-limit" not in reply.headers

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/v1/chat/completions", "POST"),
            ("POST", "/v1/models", "GET, HEAD"),
            ("PATCH", "/v1/keys", "GET, HEAD, POST"),
            ("GET", "/v1/keys/k", "DELETE"),
            ("OPTIONS", "/v1/chat/stream", "POST"),
        ],
    )
    async def test_a_wrong_method_is_405_and_says_which_are_right(
        self, client: httpx2.AsyncClient, method: str, path: str, allow: str
    ) -> None:
        reply = await client.request(method, path)
        assert (reply.status_code, envelope(reply)["code"]) == (405, "method_not_allowed")
        assert reply.headers["allow"] == allow

    @pytest.mark.parametrize(
        "path", ["/v1/chat/completions", "/v1/chat/stream", "/v1/embeddings", "/v1/keys"]
    )
    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/jsonx"},
            {"Content-Type": "application/json; charset=latin-1"},
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            {},
        ],
    )
    async def test_a_body_that_is_not_plain_json_is_415(
        self, front: Front, client: httpx2.AsyncClient, path: str, headers: dict[str, str]
    ) -> None:
        reply = await client.post(path, content=b"{}", headers=headers)
        assert (reply.status_code, envelope(reply)["code"]) == (415, "unsupported_media_type")
        assert front.channel.asked == []

    @pytest.mark.parametrize(
        "kind", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"']
    )
    async def test_json_with_a_charset_is_json(self, client: httpx2.AsyncClient, kind: str) -> None:
        reply = await client.post(
            "/v1/chat/completions", content=json.dumps(CHAT), headers={"Content-Type": kind}
        )
        assert reply.status_code == 200

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_body_over_the_limit_is_413(self, front: Front, announced: bool) -> None:
        read = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                yield b" " * 100

        headers = {"Content-Type": "application/json"} | ({"Content-Length": "10000"} if announced else {})
        settings = GatewaySettings(json_limit=Bytes(1000), chat_limit=Bytes(5000))
        async with front.client(settings) as client:
            reply = await client.post("/v1/embeddings", content=pieces(), headers=headers)
            assert (reply.status_code, envelope(reply)["code"]) == (413, "payload_too_large")
            assert read < 20
            chat = await client.post(
                "/v1/chat/completions", content=b" " * 4000, headers=headers | {"Content-Length": "4000"}
            )
            assert chat.status_code == 400
        assert [asked.method for asked in front.channel.asked] == ["CheckCaller"]


class TestCallerFirst:
    """A bad body from a bad caller is answered as the bad caller it is (decisions.md 11)."""

    @pytest.mark.parametrize(
        ("path", "rate_class"),
        [
            ("/v1/chat/completions", "chat"),
            ("/v1/chat/stream", "chat"),
            ("/v1/embeddings", "embeddings"),
            ("/v1/keys", "default"),
        ],
    )
    @pytest.mark.parametrize("body", [b"{", b"{}", b"[]"])
    async def test_a_bad_body_is_400_with_the_limits_and_costs_one_request(
        self, front: Front, client: httpx2.AsyncClient, path: str, rate_class: str, body: bytes
    ) -> None:
        reply = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (reply.status_code, envelope(reply)["code"]) == (400, "invalid_request")
        assert {name: reply.headers[name] for name in LIMITS} == LIMITS
        (asked,) = front.channel.asked
        assert asked.request == CheckCallerRequest(rate_class=rate_class)

    @pytest.mark.parametrize(
        "reason", [Reason.UNAUTHORIZED, Reason.IP_NOT_ALLOWED, Reason.RATE_LIMIT_EXCEEDED]
    )
    async def test_what_the_caller_is_refused_for_goes_first(
        self, front: Front, client: httpx2.AsyncClient, reason: Reason
    ) -> None:
        front.channel.answers["CheckCaller"] = HeadgateError(reason, "The caller.", retry_after_ms=2500)
        reply = await client.post(
            "/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"}
        )
        assert (reply.status_code, envelope(reply)["message"]) == (CONDITIONS[reason].http, "The caller.")
        assert reply.headers["x-ratelimit-limit"] == "100"

    async def test_when_nobody_knows_the_caller_the_body_is_still_bad(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        front.channel.answers["CheckCaller"] = HeadgateError(Reason.SERVICE_UNAVAILABLE, "Away.")
        reply = await client.post(
            "/v1/embeddings", content=b"{}", headers={"Content-Type": "application/json"}
        )
        assert (reply.status_code, envelope(reply)["param"]) == (400, "model")

    @pytest.mark.parametrize(
        "query", ["api_key=x", "Token=x", "access_token=", "a=1&key=x", "q=sk-hg-k1_abc"]
    )
    async def test_credentials_in_the_query_string_are_refused(
        self, front: Front, client: httpx2.AsyncClient, query: str
    ) -> None:
        for reply in (
            await client.get(f"/v1/models?{query}"),
            await client.post(f"/v1/chat/completions?{query}", json=CHAT),
        ):
            assert (reply.status_code, envelope(reply)["code"]) == (401, "invalid_api_key")
            assert reply.headers["x-ratelimit-limit"] == "100"
        assert [asked.method for asked in front.channel.asked] == ["CheckCaller"] * 2
        front.channel.answers["CheckCaller"] = HeadgateError(Reason.UNAUTHORIZED, "No credential was sent.")
        reply = await client.get(f"/v1/models?{query}")
        assert (reply.status_code, envelope(reply)["code"]) == (401, "invalid_api_key")


class TestEnvelope:
    @pytest.mark.parametrize("reason", list(Reason))
    async def test_every_reason_has_its_status_type_and_code(
        self, front: Front, client: httpx2.AsyncClient, reason: Reason
    ) -> None:
        error = HeadgateError(reason, "What happened.", field="a.b", retry_after_ms=2001)
        front.channel.answers["Generate"] = error
        reply = await client.post("/v1/chat/completions", json=CHAT)
        condition = CONDITIONS[reason]
        shown = dict(envelope(reply))
        assert reply.status_code == condition.http
        assert shown.pop("retry_after", None) == (3 if condition.http == 429 else None)
        assert shown == {
            "message": "What happened.", "type": condition.hub_type, "param": "a.b", "code": condition.hub_code,
        }  # fmt: skip
        assert reply.headers.get("retry-after") == ("3" if condition.http in (429, 503) else None)
        assert reply.headers.get("x-ratelimit-retry-after") == ("3" if condition.http == 429 else None)
        assert ("www-authenticate" in reply.headers) is (condition.http == 401)
        assert reply.headers["x-ratelimit-limit"] == "100"

    @pytest.mark.parametrize(
        ("stated", "shown"),
        [(None, "1"), (1, "1"), (1000, "1"), (1001, "2"), (0, "1"), (1_209_600_000, "1209600")],
    )
    def test_the_wait_is_whole_seconds_and_never_none(self, stated: int | None, shown: str) -> None:
        reply = error_reply(HeadgateError(Reason.QUOTA_EXCEEDED, "x", retry_after_ms=stated))
        assert reply.headers["retry-after"] == reply.headers["x-ratelimit-retry-after"] == shown
        assert reply.headers["x-should-retry"] == "false"

    def test_a_wait_stated_in_metadata_alone_is_kept_for_a_limit_and_dropped_elsewhere(self) -> None:
        limit, other = HeadgateError(Reason.RATE_LIMIT_EXCEEDED, "x"), HeadgateError(Reason.FORBIDDEN, "x")
        limit.metadata = other.metadata = {"retry-after": "7", "x-ratelimit-retry-after": "7"}
        assert error_reply(limit).headers["retry-after"] == "7"
        assert not {"retry-after", "x-ratelimit-retry-after"} & set(error_reply(other).headers)

    def test_a_limit_names_its_scope(self) -> None:
        error = HeadgateError(Reason.RATE_LIMIT_EXCEEDED, "x", details={"scope": "tokens"})
        assert error_reply(error).headers["x-ratelimit-scope"] == "tokens"

    def test_an_unknown_model_is_always_about_the_model(self) -> None:
        assert (
            json.loads(error_reply(HeadgateError(Reason.MODEL_NOT_FOUND, "x")).body)["error"]["param"]
            == "model"
        )

    async def test_an_unknown_fault_is_bare_outside_and_whole_in_the_log(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        front.channel.answers["Generate"] = KeyError("postgres://inside:5432")
        with capture_logs() as logs:
            reply = await client.post("/v1/chat/completions", json=CHAT)
        assert (reply.status_code, envelope(reply)["message"]) == (500, "Internal error.")
        assert "postgres" not in reply.text
        (entry,) = logs
        assert entry["request_id"] == reply.headers["x-request-id"]
        assert entry["exc_info"]


class TestLanguages:
    @pytest.mark.parametrize(
        ("header", "language"),
        [
            ("", "en"), ("de", "de"), ("de-AT, en;q=0.8", "de"), ("fr, es;q=0.4", "es"), ("fr", "en"),
            ("es;q=0.3, de;q=0.7", "de"), ("de;q=0", "en"), ("de;q=x, es;q=0.1", "es"), ("en, de", "en"),
        ],
    )  # fmt: skip
    def test_the_best_known_language_wins(self, header: str, language: str) -> None:
        assert choose_language(header) == language

    @pytest.mark.parametrize("language", ["de", "es"])
    @pytest.mark.parametrize("reason", list(Reason))
    def test_every_reason_has_a_text_and_nothing_but_the_text_changes(
        self, reason: Reason, language: str
    ) -> None:
        error = HeadgateError(reason, "English.", field="a.b")
        english, other = (json.loads(error_reply(error, each).body)["error"] for each in ("en", language))
        assert english["message"] == "English."
        assert other["message"].endswith(" (a.b)")
        assert other["message"] != "English."
        assert {**other, "message": ""} == {**english, "message": ""}

    async def test_it_is_off_unless_switched_on(self, front: Front, client: httpx2.AsyncClient) -> None:
        german = {"Accept-Language": "de"}
        off = await client.get("/v1/nope", headers=german)
        assert "content-language" not in off.headers
        async with front.client(GatewaySettings(accept_language=True)) as multilingual:
            on = await multilingual.get("/v1/nope", headers=german)
        assert on.headers["content-language"] == "de"
        assert envelope(on)["message"] != envelope(off)["message"]


class TestGarbage:
    async def test_a_request_leaves_nothing_for_the_garbage_collector(self, front: Front) -> None:
        app = build(
            GatewaySettings(), Clients.over(front.channel), front.records.append, lambda: front.failing
        )
        body = {"type": "http.request", "body": json.dumps(CHAT).encode(), "more_body": False}

        async def receive() -> Mapping[str, object]:
            return body

        async def send(message: Mapping[str, object]) -> None:
            pass

        async def request() -> None:
            scope = {
                "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
                "headers": [(b"content-type", b"application/json")], "client": ("198.51.100.7", 5),
            }  # fmt: skip
            await asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]

        await request()
        gc.collect()
        gc.disable()
        try:
            await request()
            assert gc.collect() == 0
        finally:
            gc.enable()
        assert [record.http_status for record in front.records] == [200, 200]


class TestRecordsAndHealth:
    async def test_each_request_leaves_one_record(self, front: Front, client: httpx2.AsyncClient) -> None:
        await client.get("/v1/nope")
        await client.post("/v1/chat/completions", json=CHAT)
        await client.post("/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"})
        seen = [(r.method, r.route, r.http_status, r.reason, r.reached_service) for r in front.records]
        assert seen == [
            ("GET", "", 404, "NOT_FOUND", False),
            ("POST", "/v1/chat/completions", 200, "", True),
            ("POST", "/v1/chat/completions", 400, "INVALID_REQUEST", True),
        ]
        assert all(r.ended_ns >= r.started_ns > 0 for r in front.records)

    async def test_probes_need_no_credential_and_say_what_fails(
        self, front: Front, client: httpx2.AsyncClient
    ) -> None:
        client.headers.pop("Authorization")
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "failing": []})
        front.failing = ["routes"]
        failing = await client.get("/readyz")
        assert (failing.status_code, failing.json()["failing"]) == (503, ["routes"])
        assert failing.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).status_code == 200
        assert front.channel.asked == []

    def test_a_proxy_that_is_no_network_is_refused_at_start(self) -> None:
        with pytest.raises(SettingsError, match="HEADGATE_TRUSTED_PROXIES"):
            GatewaySettings(trusted_proxies=("nonsense",))
