"""Who pays."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays. `plan` names the plan; address ranges apply to all keys, none means anywhere. Time is
    milliseconds since the Unix epoch."""

    id: str
    name: str
    plan: str
    created_at_ms: int
    ip_allow_list: tuple[str, ...] = ()
