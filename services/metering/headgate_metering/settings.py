"""Metering's settings."""

from dataclasses import dataclass
from pathlib import Path

from headgate_settings import Seconds, setting


@dataclass(frozen=True, slots=True)
class MeteringSettings:
    """Read once at start."""

    data: Path = setting(
        env="HEADGATE_DATA", default=Path(".headgate"), help="Folder of everything that is kept."
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
