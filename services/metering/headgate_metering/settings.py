"""Metering's settings."""

from dataclasses import dataclass
from pathlib import Path

from headgate_settings import Seconds, Secret, setting


@dataclass(frozen=True, slots=True)
class MeteringSettings:
    """Read once at start."""

    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
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
    redis_url: Secret = setting(
        env="HEADGATE_REDIS_URL",
        default=Secret(),
        help="Redis that metering's replicas share the use of limits in, `redis://:password@host:6379/0`; empty: "
        "limits are kept where everything else is.",
    )
    silence: Seconds = setting(
        env="HEADGATE_METERING_SILENCE",
        default=Seconds(60.0),
        help="How long a process may be silent before its running calls are settled from their last checkpoint.",
    )
    sweep_interval: Seconds = setting(
        env="HEADGATE_METERING_SWEEP_INTERVAL",
        default=Seconds(5.0),
        help="How often metering looks for silent processes and for idle limits.",
    )
