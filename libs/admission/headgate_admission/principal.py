"""Principal: who calls, with everything admission needs to decide without asking again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from headgate.auth.v1 import auth_pb2

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. Empty `models` means any model; empty address lists mean anywhere.

    `policy` names the rate policy. `expires_at_ms` is milliseconds since the Unix epoch; 0 means never.
    """

    id: str
    account_id: str
    key_prefix: str
    scopes: frozenset[str]
    models: frozenset[str]
    policy: str
    ip_allow_list: tuple[Network, ...] = ()
    account_ip_allow_list: tuple[Network, ...] = ()
    expires_at_ms: int = 0


def from_message(message: auth_pb2.Principal) -> Principal:
    """Reads auth's answer. Raises ValueError when an address range is not one."""
    return Principal(
        id=message.id,
        account_id=message.account_id,
        key_prefix=message.key_prefix,
        scopes=frozenset(message.scopes),
        models=frozenset(message.models),
        policy=message.policy,
        ip_allow_list=networks(message.ip_allow_list),
        account_ip_allow_list=networks(message.account_ip_allow_list),
        expires_at_ms=message.expires_at_ms,
    )


def to_message(principal: Principal) -> auth_pb2.Principal:
    """The wire form; lists are sorted so that equal principals have equal messages."""
    return auth_pb2.Principal(
        id=principal.id,
        account_id=principal.account_id,
        key_prefix=principal.key_prefix,
        scopes=sorted(principal.scopes),
        models=sorted(principal.models),
        policy=principal.policy,
        ip_allow_list=[str(network) for network in principal.ip_allow_list],
        account_ip_allow_list=[str(network) for network in principal.account_ip_allow_list],
        expires_at_ms=principal.expires_at_ms,
    )


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Address ranges from their texts. Raises ValueError when one is none."""
    return tuple(ip_network(text, strict=False) for text in texts)
