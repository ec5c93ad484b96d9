"""What auth can be told from outside."""

from dataclasses import dataclass
from pathlib import Path

from headgate_settings import Seconds, Secret, setting


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Settings of the auth service."""

    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
    )
    bootstrap_key: Secret = setting(
        env="HEADGATE_BOOTSTRAP_KEY",
        default=Secret(),
        help="The first operator key, in the form that `headgate keys generate` prints; "
        "empty: made once and kept in the data folder.",
    )
    pepper: Secret = setting(
        env="HEADGATE_AUTH_PEPPER",
        default=Secret(),
        help="Secret under which keys are hashed; empty: made once and kept in the data folder. "
        "With another pepper no key is valid any more.",
    )
    database_url: Secret = setting(
        env="HEADGATE_DATABASE_URL",
        default=Secret(),
        help="PostgreSQL that the stores are in, `postgresql://user:password@host:5432/database`, one schema "
        "for each service; empty: files in the data folder. Replicas need it, and then the same "
        "`HEADGATE_AUTH_PEPPER` and `HEADGATE_BOOTSTRAP_KEY`.",
    )
    database_timeout: Seconds = setting(
        env="HEADGATE_DATABASE_TIMEOUT",
        default=Seconds(3),
        help="Longest that a statement on PostgreSQL may take.",
    )
