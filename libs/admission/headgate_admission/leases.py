"""What admission needs of a lease holder (headgate_leases has it)."""

from typing import Protocol


class Verdict(Protocol):
    """Whether units were there, and how the bucket stands now. Times in milliseconds."""

    @property
    def granted(self) -> bool:
        """Whether the units were spent."""

    @property
    def limit(self) -> int:
        """Most units the bucket can hold."""

    @property
    def remaining(self) -> int:
        """Units left, as far as this process knows."""

    @property
    def reset_at_ms(self) -> int:
        """When the bucket will be full again, since the Unix epoch."""

    @property
    def retry_after_ms(self) -> int:
        """On a refusal: when the units will be there, from now."""


class Leases(Protocol):
    """Units leased from metering, spent here."""

    def spend(self, bucket_id: str, units: int) -> Verdict | None:
        """Spends what is held, or refuses while a refusal of metering runs; None when metering must be asked."""

    async def acquire(self, bucket_id: str, units: int) -> Verdict:
        """Asks metering, waits at most 50 ms, spends."""

    def correct(self, bucket_id: str, units: int) -> None:
        """Books a difference: positive units were spent beyond the estimate, negative ones were not needed."""
