"""What names, policies, scopes, models and address ranges may look like."""

import re
from collections.abc import Sequence
from ipaddress import ip_network

from headgate_admission.scopes import SCOPES
from headgate_auth.errors import invalid

MAX_NAME = 100
MAX_RANGES = 100
MAX_MODELS = 1000
MAX_MODEL = 200

_POLICY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """The name without surrounding blanks, 1 to 100 printable characters. Raises INVALID_REQUEST."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise invalid("name", f"must have 1 to {MAX_NAME} characters")
    if not name.isprintable():
        raise invalid("name", "must not hold control characters")
    return name


def check_policy(name: str, field: str) -> str:
    """The name of a plan or policy, or nothing. Raises INVALID_REQUEST."""
    if name and not _POLICY.fullmatch(name):
        raise invalid(field, "must be a lower-case name")
    return name


def check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes, each once, in order of their names. Raises INVALID_REQUEST for one that does not exist."""
    for scope in scopes:
        if scope not in SCOPES:
            raise invalid("scopes", f"holds {scope[:50]!r}, which is not one of {', '.join(sorted(SCOPES))}")
    return tuple(sorted(set(scopes)))


def check_models(models: Sequence[str]) -> tuple[str, ...]:
    """The model names, each once. Raises INVALID_REQUEST."""
    if len(models) > MAX_MODELS:
        raise invalid("models", f"must hold at most {MAX_MODELS} models")
    for model in models:
        if not 1 <= len(model) <= MAX_MODEL or not model.isprintable():
            raise invalid("models", f"must hold names of 1 to {MAX_MODEL} printable characters")
    return tuple(sorted(set(models)))


def check_ranges(ranges: Sequence[str]) -> tuple[str, ...]:
    """IPv4 and IPv6 ranges in their usual form, each once; a bare address is a range of one.

    Raises INVALID_REQUEST, also for set host bits: `10.1.2.3/8` lets in far more than it seems to.
    """
    if len(ranges) > MAX_RANGES:
        raise invalid("ip_allow_list", f"must hold at most {MAX_RANGES} ranges")
    return tuple(dict.fromkeys(_range(text) for text in ranges))


def _range(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise invalid(
            "ip_allow_list", f"holds {text[:50]!r}, which is not a CIDR such as 10.0.0.0/8"
        ) from None


def check_expiry(expires_at_ms: int, now_ms: int) -> int:
    """The moment a key ends, in the future; 0 means never. Raises INVALID_REQUEST."""
    if expires_at_ms and expires_at_ms <= now_ms:
        raise invalid("expires_at_ms", "must be in the future")
    return expires_at_ms
