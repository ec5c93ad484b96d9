"""5,000 generated bad requests over real sockets: each gets a clear refusal in our envelope that names the field
where there is one; none gets a 5xx, none leaves a traceback, none harms the next."""

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from headgate_gateway.app import Clients, build, build_server
from headgate_gateway.settings import GatewaySettings
from headgate_settings import Bytes, HostPort
from headgate_telemetry.record import EdgeRecord
from headgate_testing.fake_inference import FakeChannel
from headgate_testing.raw_http import RawConnection, RawReply, http_request

COUNT = 5000
CONNECTIONS = 8
# Set to the printed number to repeat a run.
SEED: int | None = None
JSON_LIMIT, CHAT_LIMIT = 64 * 1024, 128 * 1024
SETTINGS = GatewaySettings(
    http=HostPort("127.0.0.1", 0), json_limit=Bytes(JSON_LIMIT), chat_limit=Bytes(CHAT_LIMIT)
)
JSON_TYPE = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Bad:
    """One request, the statuses it may get, and the field its refusal must name (`None`: any or none)."""

    kind: str
    path: str
    body: bytes
    status: int = 400
    named: str | None = None
    headers: dict[str, str] = field(default_factory=JSON_TYPE.copy)

    def wire(self) -> bytes:
        length = {"Content-Length": str(len(self.body))}
        return http_request("POST", self.path, headers=self.headers | length) + self.body


def good(rng: random.Random) -> tuple[str, dict[str, object]]:
    """A path and a body that it takes."""
    word = "".join(rng.choices('abc äöü 世界 \U0001f600"\\', k=rng.randint(1, 30)))
    chat: dict[str, object] = {
        "model": "gpt-4",
        "messages": [{"role": "system", "content": word}, {"role": "user", "content": word}],
        "temperature": rng.random(),
        "max_tokens": rng.randint(1, 100),
        "stop": [word],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "user": word,
    }
    choices: list[tuple[str, dict[str, object]]] = [
        ("/v1/chat/completions", chat),
        ("/v1/chat/stream", chat),
        ("/v1/embeddings", {"model": "e", "input": [word, "x"], "dimensions": 8}),
        ("/v1/keys", {"name": "ci", "scopes": ["inference"], "ip_allow_list": ["10.0.0.0/8"]}),
    ]
    return rng.choice(choices)


def dumped(tree: object, rng: random.Random) -> bytes:
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode()


def raw(kind: str, change: Callable[[bytes, random.Random], bytes]) -> Callable[[random.Random], Bad]:
    """A generator that damages the bytes of a good body."""

    def make(rng: random.Random) -> Bad:
        path, tree = good(rng)
        return Bad(kind, path, change(dumped(tree, rng), rng))

    return make


def with_value(kind: str, *literals: str, name: str | None = None) -> Callable[[random.Random], Bad]:
    """A generator that adds a field with a literal JSON has no room for."""

    def make(rng: random.Random) -> Bad:
        path, tree = good(rng)
        body = dumped(tree, rng)
        field_name = name or rng.choice(["zzz", "logit_bias", "x"])
        literal = rng.choice(literals)
        return Bad(kind, path, body[:-1] + f', "{field_name}": {literal}}}'.encode())

    return make


def truncated(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body))]


def trailing(body: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        [body[:-1] + b",}", body + b"}", body + b" // no", b"/* no */" + body, body + body, body + b"\x00"]
    )


def bad_utf8(body: bytes, rng: random.Random) -> bytes:
    wrong = rng.choice([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80", b"\xc0\xaf", b"\xe2\x82"])
    return body[:-1] + b', "zzz": "' + wrong + b'"}'


def duplicate(body: bytes, rng: random.Random) -> bytes:
    name = rng.choice(list(json.loads(body)))
    return body[:-1] + f", {json.dumps(name)}: 1}}".encode()


def control(body: bytes, rng: random.Random) -> bytes:
    return body[:-1] + b', "zzz": "' + bytes([rng.randrange(32)]) + b'"}'


def encoded(body: bytes, rng: random.Random) -> bytes:
    return body.decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"]))


def no_object(_: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"", b"[]", b"null", b"1", b'"text"', b"true", b"[{}]", b" ", b"\n\n", b"-"])


def noise(_: bytes, rng: random.Random) -> bytes:
    return b"\x00" + rng.randbytes(rng.randint(0, 300))


def deep(body: bytes, rng: random.Random) -> bytes:
    levels = rng.choice([33, 34, 40, 100, 199, 201, 5000])
    nested = b"[" * levels + b"]" * levels if rng.random() < 0.5 else b'{"a":' * levels + b"1" + b"}" * levels
    return body[:-1] + b', "zzz": ' + nested + b"}"


def wide(body: bytes, rng: random.Random) -> bytes:
    return (
        body[:-1] + b"".join(b', "k%d": %d' % (n, n) for n in range(rng.randint(500, 3000))) + b', "n": NaN}'
    )


def huge(rng: random.Random) -> Bad:
    path, tree = good(rng)
    limit = CHAT_LIMIT if "chat" in path else JSON_LIMIT
    tree["zzz"] = "x" * (limit + rng.randint(0, 1000))
    return Bad("huge", path, dumped(tree, rng), status=413)


def wrong_type_of_body(rng: random.Random) -> Bad:
    path, tree = good(rng)
    headers = rng.choice(
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Content-Type": "multipart/form-data; boundary=x"},
            {"Content-Type": "application/json; charset=utf-16"},
            {"Content-Type": ""},
            {**JSON_TYPE, "Content-Encoding": rng.choice(["gzip", "br", "deflate", "gzip, gzip"])},
            {},
        ]
    )
    return Bad("wrong content type", path, dumped(tree, rng), status=415, headers=headers)


# Fields by path with values they do not take, and the name the refusal must give.
WRONG: dict[str, list[tuple[str, list[object], str]]] = {
    "chat": [
        ("model", [1, None, [], {}, "", "a\x00b", "a\nb", True, "m" * 300], "model"),
        ("messages", ["hi", 1, {}, [], None, True], "messages"),
        ("messages", [["hi"], [1], [None], [[]]], "messages[0]"),
        ("messages", [[{}], [{"content": "x"}], [{"role": "robot", "content": "x"}], [{"role": 1}]], "messages[0].role"),
        ("messages", [[{"role": "user"}], [{"role": "user", "content": 1}], [{"role": "tool"}]], "messages[0].content"),
        ("temperature", ["hot", -1, 3, True, [], {}, 2.0001], "temperature"),
        ("top_p", [2, -0.1, "x"], "top_p"),
        ("max_tokens", [0, -1, 1.5, "9", True, [], 2**32, 2**63], "max_tokens"),
        ("n", [0, 129, "1", 1.5], "n"),
        ("seed", [2**63, -(2**63) - 1, "1", 1.5], "seed"),
        ("top_logprobs", [-1, 21, "x"], "top_logprobs"),
        ("presence_penalty", [3, -3, "x"], "presence_penalty"),
        ("frequency_penalty", [3, -3, "x"], "frequency_penalty"),
        ("stream", ["yes", 1, []], "stream"),
        ("stop", [1, {}, True], "stop"),
        ("tools", ["f", {}, 1], "tools"),
        ("tools", [[{"type": "function", "function": {"name": ""}}], [{"type": "function", "function": {}}]], "tools[0].function.name"),
        ("response_format", ["json", [], 1], "response_format"),
    ],
    "embeddings": [
        ("model", [1, None, "", "a\x00"], "model"),
        ("input", [None, "", [], 1, {}, True, [-1], ["a", 1]], "input"),
        ("input", [["a", ""], ["a", None], [[1], []]], "input[1]"),
        ("encoding_format", ["hex", 1, []], "encoding_format"),
        ("dimensions", [0, -1, "x", 1.5, 2**32], "dimensions"),
    ],
    "keys": [
        ("name", [1, None, "", "x" * 101, "a\x00b", []], "name"),
        ("scopes", ["inference", 1, {}], "scopes"),
        ("ip_allow_list", [["10.0.0.0/8", "10.0.0.1/8"], ["10.0.0.0/8", "nonsense"], ["10.0.0.0/8", ""]], "ip_allow_list[1]"),
        ("expires_at", ["soon", 1, "2024-01-01", "2024-13-01T00:00:00Z", True], "expires_at"),
    ],
}  # fmt: skip


def section(path: str) -> str:
    return next(name for name in WRONG if name in path)


def wrong_value(rng: random.Random) -> Bad:
    path, tree = good(rng)
    name, values, named = rng.choice(WRONG[section(path)])
    tree[name] = rng.choice(values)
    return Bad("wrong value", path, dumped(tree, rng), named=named)


def missing(rng: random.Random) -> Bad:
    path, tree = good(rng)
    name = rng.choice([each for each in ("model", "messages", "input", "name") if each in tree])
    del tree[name]
    return Bad("missing", path, dumped(tree, rng), named=name)


GENERATORS: list[Callable[[random.Random], Bad]] = [
    raw("truncated", truncated),
    raw("trailing", trailing),
    raw("bad UTF-8", bad_utf8),
    raw("duplicate key", duplicate),
    raw("control character", control),
    raw("another encoding", encoded),
    raw("no object", no_object),
    raw("noise", noise),
    raw("deep", deep),
    raw("wide", wide),
    with_value("not a number", "NaN", "Infinity", "-Infinity", "+1", ".5", "1.", "0x10", "01", "1e", "--1"),
    with_value("overflow", "1e400", "-1e400", "1e999999999", "[1, {\"a\": 1e309}]"),
    with_value("long integer", "9" * 20, "-" + "9" * 100, "9" * 5000, f'[{"9" * 40}]', str(2**64)),
    with_value("surrogate", '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '{"\\udfff": 1}', '"\\ud83d x"'),
    with_value("not JSON", "'x'", "undefined", "None", "True", "{a: 1}", "[1,]", '"\\x41"', '"\\u12"', "", '"\n"'),
    huge,
    wrong_type_of_body,
    wrong_value,
    wrong_value,
    missing,
]  # fmt: skip


def fault_of(bad: Bad, reply: RawReply) -> str:
    """What is wrong with the reply to a bad request, empty when nothing is."""
    if reply.status != bad.status:
        return f"status {reply.status} instead of {bad.status}"
    try:
        error = reply.json()["error"]
        assert isinstance(error, dict)
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert isinstance(error["message"], str)
        assert 5 < len(error["message"]) < 250
        assert "Traceback" not in error["message"]
    except (AssertionError, KeyError, ValueError) as fault:
        return f"not the envelope: {fault}"
    if bad.named is not None and (error["param"] != bad.named or f"'{bad.named}'" not in error["message"]):
        return f"names {error['param']!r} instead of {bad.named!r}: {error['message']}"
    if not {"x-request-id", "x-call-id", "x-api-version", "x-response-time-ms"} <= set(reply.headers):
        return "headers are missing"
    return ""


@dataclass
class Front:
    port: int
    channel: FakeChannel
    records: list[EdgeRecord]


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    channel, records = FakeChannel(), list[EdgeRecord]()
    server = build_server(SETTINGS, build(SETTINGS, Clients.over(channel), records.append, lambda: []))
    yield Front(await server.start(), channel, records)
    await server.stop(0)


async def send_all(port: int, requests: list[Bad]) -> list[str]:
    """Send over one connection, one after the other; returns what was wrong with the replies."""
    connection, faults = await RawConnection.open(port), []
    for bad in requests:
        await connection.send(bad.wire())
        reply = await connection.reply()
        if fault := fault_of(bad, reply):
            faults.append(f"{bad.kind} {bad.path} {bad.body[:300]!r}: {fault}")
    await connection.close()
    return faults


async def test_5000_bad_requests_are_refused_clearly(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    seed = random.SystemRandom().getrandbits(32) if SEED is None else SEED
    print(f"seed {seed}")
    rng = random.Random(seed)
    requests = [rng.choice(GENERATORS)(rng) for _ in range(COUNT)]
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    with caplog.at_level(logging.WARNING), capture_logs() as logs:
        shares = [requests[n::CONNECTIONS] for n in range(CONNECTIONS)]
        faults = [
            each
            for share in await asyncio.gather(*(send_all(front.port, s) for s in shares))
            for each in share
        ]
    print(Counter(bad.kind for bad in requests))
    assert faults == [], f"seed {seed}: {len(faults)} faults, first: {faults[0]}"
    assert (logs, caplog.records, unhandled) == ([], [], [])
    assert len(front.records) == COUNT
    assert {asked.method for asked in front.channel.asked} == {"CheckCaller"}
    connection = await RawConnection.open(front.port)
    await connection.send(
        http_request(
            "POST", "/v1/chat/completions", b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
        )
    )
    assert (await connection.reply()).status == 200


async def test_what_the_bad_requests_are_made_of_is_good(front: Front) -> None:
    """Else a refusal would prove nothing of the damage."""
    rng = random.Random(1)
    front.channel.answers["CreateKey"] = front.channel.answers["CheckCaller"]
    connection = await RawConnection.open(front.port)
    for _ in range(50):
        path, tree = good(rng)
        if path != "/v1/keys":
            await connection.send(http_request("POST", path, dumped(tree, rng)))
            assert (await connection.reply()).status == 200


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            500,
            b'{"error":{"message":"Internal error.","type":"api_error","param":null,"code":"internal_error"}}',
        ),
        (200, b"{}"),
        (400, b"Bad Request"),
        (
            400,
            b'{"error":{"message":"Something is wrong.","type":"invalid_request_error","param":null,"code":"x"}}',
        ),
    ],
)
def test_an_unclear_answer_would_be_noticed(status: int, body: bytes) -> None:
    assert fault_of(Bad("missing", "/v1/keys", b"{}", named="name"), RawReply(status, {}, body))
