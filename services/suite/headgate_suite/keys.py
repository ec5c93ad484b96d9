"""`headgate keys`: API keys over the auth service."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from headgate.auth.v1.auth_pb2 import (
    ApiKey,
    CreateKeyRequest,
    KeyStatus,
    ListKeysRequest,
    RevokeKeyRequest,
)
from headgate_clients.auth import AuthClient
from headgate_suite.client import client_settings, connected, options

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class NewKey:
    """The key wanted; empty lists leave it to auth, `days` None means it does not expire."""

    name: str
    scopes: list[str]
    models: list[str]
    policy: str
    ips: list[str]
    days: int | None


async def create(wanted: NewKey) -> str:
    """Make a key; returns the key itself."""
    settings = client_settings()
    request = CreateKeyRequest(
        name=wanted.name,
        scopes=wanted.scopes,
        models=wanted.models,
        plan_policy=wanted.policy,
        ip_allow_list=wanted.ips,
        expires_at_ms=0 if wanted.days is None else int(time.time() * 1000) + wanted.days * DAY_MS,
    )
    async with connected(settings.auth) as channel:
        reply = await AuthClient(channel).create_key(request, options(settings))
    return reply.message.secret


async def listing() -> str:
    """The account's keys as a table."""
    settings = client_settings()
    async with connected(settings.auth) as channel:
        reply = await AuthClient(channel).list_keys(ListKeysRequest(), options(settings))
    rows: list[tuple[str, ...]] = [
        ("ID", "PREFIX", "NAME", "STATUS", "POLICY", "EXPIRES", "LAST USED", "SCOPES")
    ]
    rows += [_row(key) for key in reply.message.keys]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


async def revoke(key_id: str) -> None:
    """End a key."""
    settings = client_settings()
    async with connected(settings.auth) as channel:
        await AuthClient(channel).revoke_key(RevokeKeyRequest(key_id=key_id), options(settings))


def _row(key: ApiKey) -> tuple[str, ...]:
    status = KeyStatus.Name(key.status).removeprefix("KEY_STATUS_").lower()
    policy = key.plan_policy or "of the plan"
    return (
        key.id, key.prefix, key.name, status, policy,
        _day(key.expires_at_ms), _day(key.last_used_at_ms), " ".join(key.scopes),
    )  # fmt: skip


def _day(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}" if milliseconds else "never"
