"""What admission needs of headgate_leases.LeaseHolder."""

from typing import Protocol

from headgate_leases.bucket import TokenBucket
from headgate_leases.refusal import BucketState, Refusal


class Leases(Protocol):
    """Units leased from metering, spent here."""

    def take(self, bucket_id: str, units: int = 1) -> BucketState | None:
        """Spends units held here, without waiting, and says how the bucket stands then; None means that metering
        must be asked."""

    async def acquire(self, bucket_id: str, units: int, figures: TokenBucket) -> Refusal | None:
        """Spends units, asking metering where need be; None means they are spent."""

    def adjust(self, bucket_id: str, units: int) -> None:
        """Corrects what was spent by so many units more, or fewer."""

    def state(self, bucket_id: str) -> BucketState | None:
        """How the bucket stands; None for one never seen."""


def state_of(leases: Leases, bucket_id: str, figures: TokenBucket) -> BucketState:
    """How a bucket stands that units were just taken from; the holder may have had to forget it since."""
    return leases.state(bucket_id) or BucketState(figures.capacity, 0, 0)
