"""Between auth's own types and its messages."""

from headgate.auth.v1 import auth_pb2
from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey, Status
from headgate_auth.keys import KeyWish

_STATUS = {
    Status.ACTIVE: auth_pb2.KEY_STATUS_ACTIVE,
    Status.EXPIRED: auth_pb2.KEY_STATUS_EXPIRED,
    Status.REVOKED: auth_pb2.KEY_STATUS_REVOKED,
}


def key_message(key: ApiKey, now_ms: int) -> auth_pb2.ApiKey:
    """The key as callers see it at `now_ms`."""
    return auth_pb2.ApiKey(
        id=key.id,
        account_id=key.account_id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        models=key.models,
        plan_policy=key.plan_policy,
        ip_allow_list=key.ip_allow_list,
        created_at_ms=key.created_at_ms,
        expires_at_ms=key.expires_at_ms,
        last_used_at_ms=key.last_used_at_ms,
        status=_STATUS[key.status(now_ms)],
    )


def account_message(account: Account) -> auth_pb2.Account:
    """The account as callers see it."""
    return auth_pb2.Account(
        id=account.id, name=account.name, plan=account.plan, created_at_ms=account.created_at_ms
    )


def key_wish(request: auth_pb2.CreateKeyRequest) -> KeyWish:
    """The key that a request describes."""
    return KeyWish(
        name=request.name,
        scopes=tuple(request.scopes),
        models=tuple(request.models),
        plan_policy=request.plan_policy,
        ip_allow_list=tuple(request.ip_allow_list),
        expires_at_ms=request.expires_at_ms,
        account_id=request.account_id,
    )
