"""The key as auth keeps it: everything but the key itself."""

from dataclasses import dataclass, field
from enum import Enum


class Status(Enum):
    """The state of a key."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key. `public_id` is the id inside the key text; `digest` is the HMAC of the whole text.

    Empty `models` means any model, empty `ip_allow_list` anywhere, empty `plan_policy` the plan's. Times are
    milliseconds since the Unix epoch; 0 means never.
    """

    id: str
    account_id: str
    name: str
    public_id: str
    digest: bytes = field(repr=False)
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    plan_policy: str
    ip_allow_list: tuple[str, ...]
    created_at_ms: int
    expires_at_ms: int = 0
    last_used_at_ms: int = 0
    revoked_at_ms: int = 0

    @property
    def prefix(self) -> str:
        """What may be shown of the key."""
        return f"sk-hg-{self.public_id}"

    def status(self, now_ms: int) -> Status:
        """The state at `now_ms`."""
        if self.revoked_at_ms:
            return Status.REVOKED
        if self.expires_at_ms and self.expires_at_ms <= now_ms:
            return Status.EXPIRED
        return Status.ACTIVE
