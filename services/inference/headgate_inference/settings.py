"""What can be set about inference."""

from dataclasses import dataclass
from typing import Literal

from headgate_settings import Bytes, setting


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """Settings of the inference service."""

    journal_sync: Literal["batch", "always"] = setting(
        env="HEADGATE_JOURNAL_SYNC",
        default="batch",
        help="Whether a call waits until its intent is on the disk (always), or the disk follows within 10 ms.",
    )
    reply_limit: Bytes = setting(
        env="HEADGATE_REPLY_LIMIT",
        default=Bytes(64 * 2**20),
        help="Largest whole reply taken from a provider.",
    )
    event_limit: Bytes = setting(
        env="HEADGATE_EVENT_LIMIT",
        default=Bytes(4 * 2**20),
        help="Largest single event taken from a provider's stream.",
    )
