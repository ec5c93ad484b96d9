"""Embeddings, models, usage and keys: both directions of each translation."""

import json
import struct
from base64 import b64decode
from collections.abc import AsyncIterator

import httpx2
import pytest

from headgate.auth.v1 import auth_pb2
from headgate.auth.v1.auth_pb2 import (
    ApiKey,
    CreateKeyRequest,
    CreateKeyResponse,
    ListKeysResponse,
    RevokeKeyRequest,
    RevokeKeyResponse,
)
from headgate.inference.v1.inference_pb2 import Embedding, EmbedRequest, EmbedResponse, Usage
from headgate.metering.v1.metering_pb2 import GetUsageRequest, GetUsageResponse, ModelUsage, Quantities
from headgate.registry.v1 import registry_pb2
from headgate.registry.v1.registry_pb2 import GetModelRequest, GetModelResponse, ListModelsResponse, Model
from headgate_gateway.app import Clients, build
from headgate_gateway.embeddings import embeddings_json, embeddings_request
from headgate_gateway.settings import GatewaySettings
from headgate_gateway.strict_json import Malformed, parse
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.fake_inference import FakeChannel

JANUARY = 1_705_314_600_000  # 2024-01-15T10:30:00Z
JULY = 1_721_001_600_000  # 2024-07-15T00:00:00Z


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
async def client(channel: FakeChannel) -> AsyncIterator[httpx2.AsyncClient]:
    app = build(GatewaySettings(), Clients.over(channel), lambda _: None, lambda: [])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as made:
        yield made


def embed(**fields: object) -> EmbedRequest:
    return embeddings_request(parse(json.dumps({"model": "e", **fields}).encode())).request


class TestEmbeddings:
    def test_texts_and_token_ids_are_told_apart(self) -> None:
        assert list(embed(input="a").texts) == ["a"]
        assert list(embed(input=["a", "b"]).texts) == ["a", "b"]
        assert [list(each.ids) for each in embed(input=[1, 2, 3]).tokens] == [[1, 2, 3]]
        assert [list(each.ids) for each in embed(input=[[1], [2, 3]]).tokens] == [[1], [2, 3]]

    def test_dimensions_and_unknown_fields_go_on_and_the_encoding_stays_here(self) -> None:
        made = embed(input="a", dimensions=256, user="u", encoding_format="base64")
        assert made.dimensions == 256
        assert json.loads(made.extra_json) == {"user": "u"}
        assert not embed(input="a").HasField("dimensions")

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({}, "input"),
            ({"input": ""}, "input"),
            ({"input": []}, "input"),
            ({"input": None}, "input"),
            ({"input": 5}, "input"),
            ({"input": ["a", ""]}, "input[1]"),
            ({"input": [[1], []]}, "input[1]"),
            ({"input": ["a", 1]}, "input"),
            ({"input": ["a", [1]]}, "input"),
            ({"input": [True]}, "input[0]"),
            ({"input": [-1]}, "input"),
            ({"input": [2**63]}, "input"),
            ({"input": [[1, "a"]]}, "input[0][1]"),
            ({"input": ["a"] * 2049}, "input"),
            ({"input": "a", "dimensions": 0}, "dimensions"),
            ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ],
    )
    def test_a_wrong_input_is_refused_with_its_place(self, fields: dict[str, object], field: str) -> None:
        with pytest.raises(Malformed) as caught:
            embed(**fields)
        assert caught.value.field == field

    def test_the_most_inputs_are_allowed(self) -> None:
        assert len(embed(input=["a"] * 2048).texts) == 2048
        assert len(embed(input=[1] * 5000).tokens) == 1

    def test_numbers_come_back_as_they_were_written_and_base64_is_the_same_vector(self) -> None:
        numbers = [0.0023064255, -0.009327292, 0.1 + 0.2, 1e-40]
        reply = EmbedResponse(
            model="e", embeddings=[Embedding(values=numbers)] * 2, usage=Usage(input_tokens=4)
        )
        plain = json.loads(embeddings_json(reply, base64=False))
        assert plain == {
            "object": "list",
            "data": [{"object": "embedding", "embedding": numbers, "index": index} for index in (0, 1)],
            "model": "e",
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
        }
        packed = json.loads(embeddings_json(reply, base64=True))["data"][1]["embedding"]
        assert b64decode(packed) == struct.pack("<4f", *numbers)


class TestModels:
    MODEL = Model(
        id="org/gpt-4", type=registry_pb2.MODEL_TYPE_TEXT, capabilities=["chat"], context_length=8192,
        owned_by="provider-a", created=5,
    )  # fmt: skip

    async def test_the_list_has_every_documented_field(
        self, channel: FakeChannel, client: httpx2.AsyncClient
    ) -> None:
        vectors = Model(id="e", type=registry_pb2.MODEL_TYPE_EMBEDDING, dimensions=384, description="A card.")
        channel.answers["ListModels"] = ListModelsResponse(models=[self.MODEL, vectors])
        tree = (await client.get("/v1/models")).json()
        assert tree["object"] == "list"
        first, second = tree["data"]
        assert first == {
            "id": "org/gpt-4", "object": "model", "created": 5, "owned_by": "provider-a",
            "permission": [{
                "id": "modelperm-org/gpt-4", "object": "model_permission", "created": 5,
                "allow_sampling": True, "allow_fine_tuning": False, "organization": "*",
            }],
            "root": "org/gpt-4", "parent": None, "context_length": 8192, "capabilities": ["chat"], "type": "text",
        }  # fmt: skip
        assert (second["type"], second["dimensions"], second["description"]) == ("embedding", 384, "A card.")

    @pytest.mark.parametrize("path", ["/v1/models/org/gpt-4", "/v1/models/org%2Fgpt-4"])
    async def test_an_id_may_hold_slashes(
        self, channel: FakeChannel, client: httpx2.AsyncClient, path: str
    ) -> None:
        channel.answers["GetModel"] = GetModelResponse(model=self.MODEL)
        assert (await client.get(path)).json()["id"] == "org/gpt-4"
        assert channel.last.request == GetModelRequest(id="org/gpt-4")
        assert channel.last.metadata["x-headgate-endpoint"] == "GET /v1/models/{id}"

    async def test_an_unknown_model_is_404(self, channel: FakeChannel, client: httpx2.AsyncClient) -> None:
        channel.answers["GetModel"] = HeadgateError(Reason.MODEL_NOT_FOUND, "Model 'x' does not exist.")
        reply = await client.get("/v1/models/x")
        assert (reply.status_code, reply.json()["error"]["param"]) == (404, "model")


class TestUsage:
    ANSWER = GetUsageResponse(
        start_ms=1_733_011_200_000,  # 2024-12-01
        end_ms=1_735_689_600_000,  # 2025-01-01
        models=[
            ModelUsage(
                model="a",
                requests=2,
                quantities=Quantities(input_tokens=3, output_tokens=4),
                cost_nano_usd=1_500,
            ),
            ModelUsage(model="b", requests=1, quantities=Quantities(input_tokens=10), cost_nano_usd=2_500),
        ],
    )

    async def test_sums_are_shown_in_usd_and_add_up(
        self, channel: FakeChannel, client: httpx2.AsyncClient
    ) -> None:
        channel.answers["GetUsage"] = self.ANSWER
        assert (await client.get("/v1/usage")).json() == {
            "period": {"start": "2024-12-01T00:00:00Z", "end": "2024-12-31T23:59:59Z"},
            "usage": {
                "total_requests": 3,
                "total_tokens": 17,
                "total_cost": 0.000004,
                "models": {
                    "a": {"requests": 2, "tokens": 7, "cost": 0.000002},
                    "b": {"requests": 1, "tokens": 10, "cost": 0.000002},
                },
            },
        }
        assert channel.last.request == GetUsageRequest()

    @pytest.mark.parametrize(
        ("query", "start", "end"),
        [
            ("start=2024-01-15&end=2024-01-15", 1_705_276_800_000, 1_705_363_200_000),
            ("start=2024-01-15T10:30:00Z", JANUARY, 0),
            ("start=2024-01-15T10%3A30%3A00%2B00:00", JANUARY, 0),
            ("end=2024-12-31T23:59:59Z", 0, 1_735_689_600_000),
            ("end=2024-12-31T23:59:59.5Z", 0, 1_735_689_600_000),
        ],
    )
    async def test_days_are_inclusive_and_timestamps_end_with_their_second(
        self, channel: FakeChannel, client: httpx2.AsyncClient, query: str, start: int, end: int
    ) -> None:
        channel.answers["GetUsage"] = self.ANSWER
        assert (await client.get(f"/v1/usage?{query}")).status_code == 200
        assert channel.last.request == GetUsageRequest(start_ms=start, end_ms=end)

    @pytest.mark.parametrize(
        "value", ["yesterday", "2024-13-01", "2024-01-15T10:30:00", "20240115", "2024-02-30"]
    )
    @pytest.mark.parametrize("name", ["start", "end"])
    async def test_a_date_that_is_none_is_named(
        self, client: httpx2.AsyncClient, name: str, value: str
    ) -> None:
        reply = await client.get("/v1/usage", params={name: value})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, name)


class TestKeys:
    KEY = ApiKey(
        id="key_1", name="ci", prefix="sk-hg-k1", scopes=["inference"], ip_allow_list=["203.0.113.0/24"],
        created_at_ms=JANUARY, expires_at_ms=JULY, status=auth_pb2.KEY_STATUS_ACTIVE,
    )  # fmt: skip
    SHOWN = {  # noqa: RUF012 - never changed
        "id": "key_1", "object": "api_key", "name": "ci", "prefix": "sk-hg-k1", "scopes": ["inference"], "models": [],
        "ip_allow_list": ["203.0.113.0/24"], "created_at": "2024-01-15T10:30:00Z", "expires_at": "2024-07-15T00:00:00Z",
    }  # fmt: skip

    async def test_a_new_key_is_shown_once_whole(
        self, channel: FakeChannel, client: httpx2.AsyncClient
    ) -> None:
        channel.answers["CreateKey"] = CreateKeyResponse(key=self.KEY, secret="sk-hg-k1_secret")
        body = {
            "name": "ci", "scopes": ["inference"], "models": ["gpt-4"], "plan_policy": "pro",
            "ip_allow_list": ["203.0.113.0/24", "2001:db8::/32"], "expires_at": "2024-07-15T00:00:00Z", "unknown": 1,
        }  # fmt: skip
        reply = await client.post("/v1/keys", json=body)
        assert (reply.status_code, reply.json()) == (200, {**self.SHOWN, "key": "sk-hg-k1_secret"})
        assert channel.last.request == CreateKeyRequest(
            name="ci", scopes=["inference"], models=["gpt-4"], plan_policy="pro",
            ip_allow_list=["203.0.113.0/24", "2001:db8::/32"], expires_at_ms=JULY,
        )  # fmt: skip
        await client.post("/v1/keys", json={"name": "bare", "expires_at": None})
        assert channel.last.request == CreateKeyRequest(name="bare")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x" * 101}, "name"),
            ({"name": "a\x00"}, "name"),
            ({"name": "a", "scopes": "inference"}, "scopes"),
            ({"name": "a", "scopes": [1]}, "scopes[0]"),
            ({"name": "a", "ip_allow_list": ["203.0.113.0/24", "300.1.1.1/8"]}, "ip_allow_list[1]"),
            ({"name": "a", "ip_allow_list": ["203.0.113.7/24"]}, "ip_allow_list[0]"),
            ({"name": "a", "expires_at": "tomorrow"}, "expires_at"),
            ({"name": "a", "expires_at": 1721001600}, "expires_at"),
            ({"name": "a", "expires_at": "2024-07-15T00:00:00"}, "expires_at"),
        ],
    )
    async def test_a_wrong_field_is_named(
        self, client: httpx2.AsyncClient, body: dict[str, object], field: str
    ) -> None:
        reply = await client.post("/v1/keys", json=body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, field)

    async def test_keys_are_listed_without_secrets(
        self, channel: FakeChannel, client: httpx2.AsyncClient
    ) -> None:
        old = ApiKey(
            id="key_0", created_at_ms=JANUARY, last_used_at_ms=JULY, status=auth_pb2.KEY_STATUS_REVOKED
        )
        channel.answers["ListKeys"] = ListKeysResponse(keys=[self.KEY, old])
        first, second = (await client.get("/v1/keys")).json()["data"]
        assert first == {**self.SHOWN, "last_used_at": None, "status": "active"}
        assert (second["status"], second["last_used_at"], second["expires_at"]) == (
            "revoked",
            "2024-07-15T00:00:00Z",
            None,
        )

    async def test_a_key_is_revoked_by_its_id(self, channel: FakeChannel, client: httpx2.AsyncClient) -> None:
        channel.answers["RevokeKey"] = RevokeKeyResponse()
        reply = await client.delete("/v1/keys/key_1")
        assert reply.json() == {"id": "key_1", "object": "api_key", "deleted": True}
        assert channel.last.request == RevokeKeyRequest(key_id="key_1")
        assert channel.last.timeout == 10
