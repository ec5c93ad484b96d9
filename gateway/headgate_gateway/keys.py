"""`POST /v1/keys`, `GET /v1/keys`, `DELETE /v1/keys/{id}` (AUTH-8, AUTH-19, AUTH-20)."""

from ipaddress import ip_network
from typing import Annotated

from msgspec import Meta, Struct

from headgate.auth.v1 import auth_pb2
from headgate.auth.v1.auth_pb2 import ApiKey, CreateKeyRequest, ListKeysRequest, RevokeKeyRequest
from headgate_clients.auth import AuthClient
from headgate_gateway.exchange import Exchange
from headgate_gateway.strict_json import Tree, encode, malformed, typed
from headgate_gateway.timestamps import format_ts, format_ts_or_none, parse_ts

_Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]

_STATUS = {
    auth_pb2.KEY_STATUS_ACTIVE: "active",
    auth_pb2.KEY_STATUS_ROTATING: "rotating",
    auth_pb2.KEY_STATUS_EXPIRED: "expired",
    auth_pb2.KEY_STATUS_REVOKED: "revoked",
}


class _Body(Struct):
    name: _Name
    scopes: list[_Name] | None = None
    models: list[_Name] | None = None
    plan_policy: str | None = None
    ip_allow_list: list[str] | None = None
    expires_at: str | None = None


class Keys:
    """Keys of the caller's account, from `auth`; bodies of up to `limit` bytes, answers within `timeout` seconds."""

    def __init__(self, auth: AuthClient, limit: int, timeout: float) -> None:
        self._auth = auth
        self._limit = limit
        self._timeout = timeout

    async def create(self, exchange: Exchange) -> None:
        """Make a key; the reply is the only place that ever shows it."""
        request = create_key_request(await exchange.json(self._limit))
        reply = await self._auth.create_key(request, exchange.options(self._timeout))
        shown = key_object(reply.message.key) | {"key": reply.message.secret}
        await exchange.answer(encode(shown), reply.metadata)

    async def list(self, exchange: Exchange) -> None:
        """The account's keys, without secrets."""
        reply = await self._auth.list_keys(ListKeysRequest(), exchange.options(self._timeout))
        keys = [
            key_object(key)
            | {
                "last_used_at": format_ts_or_none(key.last_used_at_ms),
                "status": _STATUS.get(key.status, "active"),
            }
            for key in reply.message.keys
        ]
        await exchange.answer(encode({"object": "list", "data": keys}), reply.metadata)

    async def delete(self, exchange: Exchange) -> None:
        """Revoke a key."""
        key_id = exchange.parameters["id"]
        reply = await self._auth.revoke_key(RevokeKeyRequest(key_id=key_id), exchange.options(self._timeout))
        await exchange.answer(encode({"id": key_id, "object": "api_key", "deleted": True}), reply.metadata)


def create_key_request(tree: Tree) -> CreateKeyRequest:
    """Translate a key body. Raises Malformed naming the field."""
    body = typed(tree, _Body)
    for index, cidr in enumerate(body.ip_allow_list or ()):
        _check_cidr(cidr, f"ip_allow_list[{index}]")
    return CreateKeyRequest(
        name=body.name,
        scopes=body.scopes,
        models=body.models,
        plan_policy=body.plan_policy or "",
        ip_allow_list=body.ip_allow_list,
        expires_at_ms=parse_ts(body.expires_at, "expires_at") if body.expires_at is not None else 0,
    )


def _check_cidr(cidr: str, field: str) -> None:
    try:
        ip_network(cidr)
    except ValueError:
        raise malformed(f"Field '{field}' must be a network such as 203.0.113.0/24.", field) from None


def key_object(key: ApiKey) -> dict[str, object]:
    """What every reply shows of a key."""
    return {
        "id": key.id,
        "object": "api_key",
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "models": list(key.models),
        "ip_allow_list": list(key.ip_allow_list),
        "created_at": format_ts(key.created_at_ms),
        "expires_at": format_ts_or_none(key.expires_at_ms),
    }
