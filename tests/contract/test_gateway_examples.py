"""The hub family against the published examples: what they send is accepted, what they show is sent back, with the
same names, types, codes, headers and framing."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headgate.auth.v1 import auth_pb2
from headgate.auth.v1.auth_pb2 import ApiKey, CreateKeyResponse, ListKeysResponse, RevokeKeyResponse
from headgate.metering.v1.metering_pb2 import GetUsageResponse, ModelUsage, Quantities
from headgate.registry.v1 import registry_pb2
from headgate.registry.v1.registry_pb2 import ListModelsResponse, Model
from headgate_gateway.app import Clients, build
from headgate_gateway.settings import GatewaySettings
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.fake_inference import FakeChannel, text_stream

EXAMPLES = Path(__file__).parent / "examples"
UPSTREAM_CUT = HeadgateError(Reason.UPSTREAM_ERROR, "The provider ended the stream early.")

Json = Any


@dataclass(frozen=True)
class Http:
    """A `.http` file: its first line, headers (lower case) and body."""

    start: str
    headers: dict[str, str]
    body: str


USED: set[str] = set()


def text(name: str) -> str:
    USED.add(name)
    return (EXAMPLES / name).read_text()


def tree(name: str) -> Json:
    return json.loads(text(name))


def http(name: str) -> Http:
    head, _, body = text(name).partition("\n\n")
    start, *lines = head.split("\n")
    pairs = (line.partition(": ") for line in lines)
    return Http(start, {key.lower(): value for key, _, value in pairs}, body.strip())


def events(body: str) -> list[Json]:
    """Events of a stream as JSON, `[DONE]` and comments as text; checks the framing."""
    assert body.endswith("\n\n")
    found: list[Json] = []
    for event in body.rstrip("\n").split("\n\n"):
        assert "\n" not in event
        assert event.startswith(("data: ", ": "))
        data = event.removeprefix("data: ")
        found.append(json.loads(data) if data.startswith("{") else data)
    return found


# Values that the examples fix; all others only show a type.
FIXED = frozenset(
    {"object", "type", "code", "param", "finish_reason", "role", "status", "deleted", "retry_after"}
)


def assert_shows(shown: Json, actual: Json, path: str = "$") -> None:
    """`actual` has every field of `shown` with the same type, and the same value where the examples are binding."""
    if isinstance(shown, dict):
        assert isinstance(actual, dict), path
        for key, value in shown.items():
            assert key in actual, f"{path}.{key} is missing"
            assert_shows(value, actual[key], f"{path}.{key}")
            if key in FIXED:
                assert actual[key] == value, f"{path}.{key}"
    elif isinstance(shown, list):
        assert isinstance(actual, list), path
        assert bool(actual) == bool(shown), path
        for index, item in enumerate(actual):
            assert_shows(shown[min(index, len(shown) - 1)], item, f"{path}[{index}]")
    elif isinstance(shown, float):
        assert isinstance(actual, float | int), path
    else:
        assert type(actual) is type(shown), f"{path}: {actual!r}"


@dataclass
class Front:
    """A gateway whose services say what the examples show."""

    channel: FakeChannel = field(default_factory=FakeChannel)

    def client(self) -> httpx2.AsyncClient:
        app = build(GatewaySettings(), Clients.over(self.channel), lambda _: None, lambda: [])
        transport = httpx2.ASGITransport(app)
        headers = {"Authorization": "Bearer sk-hg-k1_test"}
        return httpx2.AsyncClient(transport=transport, base_url="http://api.example.com", headers=headers)


@pytest.fixture
def channel() -> FakeChannel:
    channel = FakeChannel()
    created = {"gpt-4": 1677610602, "claude-3-opus": 1680000000}
    channel.answers["ListModels"] = ListModelsResponse(
        models=[
            Model(
                id=name, type=registry_pb2.MODEL_TYPE_TEXT, owned_by="provider-a", created=when,
                context_length=8192, capabilities=["chat"],
            )
            for name, when in created.items()
        ]
    )  # fmt: skip
    channel.answers["GetUsage"] = GetUsageResponse(
        start_ms=1_733_011_200_000,
        end_ms=1_735_689_600_000,
        models=[
            ModelUsage(
                model="gpt-4",
                requests=800,
                quantities=Quantities(input_tokens=80_000),
                cost_nano_usd=20 * 10**9,
            ),
            ModelUsage(
                model="claude-3",
                requests=450,
                quantities=Quantities(input_tokens=45_000),
                cost_nano_usd=5_500_000_000,
            ),
        ],
    )
    key = ApiKey(
        id="key_1", name="ci", prefix="sk-hg-k1", scopes=["inference", "models:read"],
        ip_allow_list=["203.0.113.0/24", "2001:db8::/32"], created_at_ms=1_705_314_600_000,
        expires_at_ms=1_721_001_600_000, status=auth_pb2.KEY_STATUS_ACTIVE,
    )  # fmt: skip
    channel.answers["CreateKey"] = CreateKeyResponse(key=key, secret="sk-hg-k1_secret")
    channel.answers["ListKeys"] = ListKeysResponse(keys=[key])
    channel.answers["RevokeKey"] = RevokeKeyResponse()
    return channel


@pytest.fixture
async def client(channel: FakeChannel) -> AsyncIterator[httpx2.AsyncClient]:
    async with Front(channel).client() as made:
        yield made


BODIES = [
    ("/v1/chat/completions", "hub.chat_completions.request.json", "hub.chat_completions.response.json"),
    ("/v1/chat/completions", "proxy.chat_completions.request.json", "proxy.chat_completions.response.json"),
    (
        "/v1/chat/completions",
        "proxy.chat_completions.minimal.request.json",
        "proxy.chat_completions.response.json",
    ),
    ("/v1/embeddings", "proxy.embeddings.request.json", "proxy.embeddings.response.json"),
    ("/v1/embeddings", "proxy.embeddings.array.request.json", "proxy.embeddings.response.json"),
    ("/v1/embeddings", "proxy.embeddings.base64.request.json", "proxy.embeddings.base64.response.json"),
    ("/v1/keys", "platform.key_create.request.json", "platform.key_create.response.json"),
]


@pytest.mark.parametrize(("path", "request_file", "reply_file"), BODIES)
async def test_a_body_is_accepted_and_answered_as_shown(
    client: httpx2.AsyncClient, path: str, request_file: str, reply_file: str
) -> None:
    reply = await client.post(path, json=tree(request_file))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert_shows(tree(reply_file), reply.json())


async def test_the_base64_vector_is_the_one_shown(client: httpx2.AsyncClient) -> None:
    shown = tree("proxy.embeddings.base64.response.json")
    reply = await client.post("/v1/embeddings", json=tree("proxy.embeddings.base64.request.json"))
    assert reply.json()["data"] == shown["data"]


REQUESTS = [
    ("hub.chat_completions.request.http", "hub.chat_completions.response.json"),
    ("hub.models.request.http", "hub.models.response.json"),
    ("proxy.models.request.http", "proxy.models.response.json"),
    ("hub.usage.request.http", "hub.usage.response.json"),
]


@pytest.mark.parametrize(("request_file", "reply_file"), REQUESTS)
async def test_a_whole_request_is_accepted_and_answered_as_shown(
    client: httpx2.AsyncClient, request_file: str, reply_file: str
) -> None:
    asked = http(request_file)
    method, path, _ = asked.start.split(" ")
    reply = await client.request(method, path, headers=asked.headers, content=asked.body)
    assert reply.status_code == 200
    assert_shows(tree(reply_file), reply.json())


async def test_keys_are_listed_and_deleted_as_shown(client: httpx2.AsyncClient) -> None:
    assert_shows(tree("platform.key_list.response.json"), (await client.get("/v1/keys")).json())
    assert (await client.delete("/v1/keys/key_1")).json() == tree("platform.key_delete.response.json")


async def test_the_usage_figures_are_those_shown(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/usage")).json() == tree("hub.usage.response.json")


STREAMS = [
    (
        "/v1/chat/stream",
        "hub.chat_stream.request.json",
        "hub.chat_stream.response.sse",
        ("Once", " upon", " a"),
    ),
    (
        "/v1/chat/completions",
        "proxy.chat_completions.stream.request.json",
        "proxy.chat_completions.stream.response.sse",
        ("Hello", "!"),
    ),
]


@pytest.mark.parametrize(("path", "request_file", "reply_file", "texts"), STREAMS)
async def test_a_stream_has_exactly_the_events_shown(
    channel: FakeChannel,
    client: httpx2.AsyncClient,
    path: str,
    request_file: str,
    reply_file: str,
    texts: tuple[str, ...],
) -> None:
    channel.streams["StreamGenerate"] = text_stream(*texts)
    reply = await client.post(path, json=tree(request_file))
    assert events(reply.text) == events(text(reply_file))


async def test_usage_is_the_last_event_shown(channel: FakeChannel, client: httpx2.AsyncClient) -> None:
    channel.streams["StreamGenerate"] = text_stream("Once")
    body = {**tree("hub.chat_stream.request.json"), "stream_options": {"include_usage": True}}
    reply = await client.post("/v1/chat/stream", json=body)
    assert events(reply.text) == events(text("hub.chat_stream.usage.response.sse"))


async def test_a_stream_has_at_least_the_minimum_that_clients_rely_on(client: httpx2.AsyncClient) -> None:
    shown = events(text("hub.chat_stream.minimal.response.sse"))
    reply = await client.post("/v1/chat/stream", json=tree("hub.chat_stream.request.json"))
    pieces = [
        event
        for event in events(reply.text)
        if isinstance(event, dict) and event["choices"][0]["delta"].get("content")
    ]
    assert len(pieces) == len(shown) - 1
    for want, got in zip(shown[:-1], pieces, strict=True):
        assert_shows(want, got)
        assert got["choices"][0]["delta"] == want["choices"][0]["delta"]


async def test_a_failed_stream_ends_with_the_event_shown(
    channel: FakeChannel, client: httpx2.AsyncClient
) -> None:
    channel.streams["StreamGenerate"] = [*text_stream("Hello")[:2], UPSTREAM_CUT]
    reply = await client.post("/v1/chat/completions", json=tree("proxy.chat_completions.stream.request.json"))
    assert reply.status_code == 200
    assert events(reply.text) == events(text("proxy.chat_completions.stream.error.response.sse"))


def test_a_keep_alive_comment_is_no_event_to_a_line_reader() -> None:
    shown = events(text("hub.chat_stream.keepalive.response.sse"))
    assert ": keep-alive" in shown
    assert shown[-1] == "[DONE]"


ERRORS = {
    "hub.error.missing_api_key.response.json": (401, HeadgateError(Reason.UNAUTHORIZED, "No credential was sent.")),
    "hub.error.model_not_found.response.json": (404, HeadgateError(Reason.MODEL_NOT_FOUND, "No such model.")),
    "hub.error.insufficient_quota.response.json": (
        429, HeadgateError(Reason.QUOTA_EXCEEDED, "Used up.", retry_after_ms=1_209_600_000),
    ),
    "hub.error.rate_limited.response.json": (
        429, HeadgateError(Reason.RATE_LIMIT_EXCEEDED, "Too many requests.", retry_after_ms=60_000),
    ),
    "hub.error.upstream_error.response.json": (502, HeadgateError(Reason.UPSTREAM_ERROR, "The provider failed.")),
    "proxy.error.insufficient_permissions.response.json": (403, HeadgateError(Reason.FORBIDDEN, "No scope.")),
    "proxy.error.internal.response.json": (500, KeyError("a bug")),
    "proxy.error.invalid_api_key.response.json": (401, HeadgateError(Reason.INVALID_CREDENTIALS, "Not valid.")),
    "proxy.error.upstream_unavailable.response.json": (503, HeadgateError(Reason.PROVIDER_UNAVAILABLE, "None.")),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_has_the_envelope_shown(
    channel: FakeChannel, client: httpx2.AsyncClient, name: str
) -> None:
    status, error = ERRORS[name]
    channel.answers["Generate"] = error
    reply = await client.post("/v1/chat/completions", json=tree("hub.chat_completions.request.json"))
    assert reply.status_code == status
    assert_shows(tree(name), reply.json())
    assert set(reply.json()["error"]) == set(tree(name)["error"])


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        (
            "hub.chat_completions.no_model.response.json",
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "x"}]},
        ),
        ("proxy.error.invalid_request.response.json", "/v1/chat/completions", {"model": "gpt-4"}),
        (
            "hub.chat_stream.stream_false.response.json",
            "/v1/chat/stream",
            {"model": "gpt-4", "messages": [{"role": "user", "content": "x"}], "stream": False},
        ),
    ],
)
async def test_a_bad_body_is_answered_word_for_word(
    client: httpx2.AsyncClient, name: str, path: str, body: dict[str, object]
) -> None:
    reply = await client.post(path, json=body)
    assert (reply.status_code, reply.json()) == (400, tree(name))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("hub.rate_limit_headers.response.http", "/v1/chat/completions"),
        ("hub.rate_limit_headers.unlimited.response.http", "/v1/chat/completions"),
        ("hub.chat_stream.headers.response.http", "/v1/chat/stream"),
    ],
)
async def test_a_reply_carries_the_headers_shown(
    channel: FakeChannel, client: httpx2.AsyncClient, name: str, path: str
) -> None:
    shown = http(name)
    channel.metadata = {key: value for key, value in shown.headers.items() if key.startswith("x-ratelimit")}
    headers = {"X-Request-Id": shown.headers["x-request-id"]}
    reply = await client.post(
        path, json=tree("hub.chat_completions.request.json") | {"stream": None}, headers=headers
    )
    assert reply.status_code == 200
    assert {key: reply.headers[key] for key in shown.headers} == shown.headers


async def test_a_limit_answers_with_the_headers_and_body_shown(
    channel: FakeChannel, client: httpx2.AsyncClient
) -> None:
    shown = http("proxy.error.rate_limited.response.http")
    error = HeadgateError(
        Reason.RATE_LIMIT_EXCEEDED,
        "Too many requests; retry in 3 seconds.",
        retry_after_ms=3000,
        details={"scope": "requests"},
    )
    channel.answers["Generate"] = error
    channel.metadata = {
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1640995200",
    }
    reply = await client.post(
        "/v1/chat/completions",
        json=tree("proxy.chat_completions.request.json"),
        headers={"X-Request-Id": shown.headers["x-request-id"]},
    )
    assert reply.status_code == 429
    assert {key: reply.headers[key] for key in shown.headers} == shown.headers
    assert reply.json() == json.loads(shown.body)


def test_a_field_that_is_missing_or_of_another_type_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="missing"):
        assert_shows({"a": {"b": 1}}, {"a": {}})
    with pytest.raises(AssertionError):
        assert_shows({"a": 1}, {"a": "1"})
    with pytest.raises(AssertionError):
        assert_shows({"object": "list"}, {"object": "lists"})


def test_every_example_was_walked() -> None:
    """Runs last in this file; a file that no test reads would prove nothing."""
    assert {path.name for path in EXAMPLES.iterdir()} == USED
