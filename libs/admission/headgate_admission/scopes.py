"""What a principal may do, by name (AUTH-15)."""

from collections.abc import Set as AbstractSet

OPERATOR = "operator"
ADMIN = "admin"

SCOPES = frozenset(
    {
        "inference", "models:read", "models:write", "usage:read", "sessions", "jobs", "webhooks",
        "analytics:read", "audit:read", "keys", "budgets", "plan", ADMIN, OPERATOR,
    }
)  # fmt: skip


def allows(held: AbstractSet[str], required: str) -> bool:
    """Whether these scopes include `required`: `admin` is everything within one account, `operator` is
    the whole suite."""
    return required in held or OPERATOR in held or (ADMIN in held and required != OPERATOR)
