"""What metering asks of its stores. Every backend passes the same suites."""

from collections.abc import Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from headgate_metering.buckets import Bucket
from headgate_metering.usage_event import Adjustment, Batch, DeadLetter, OpenCall, Settlement, Usage

T = TypeVar("T")


class UnusableBatchError(Exception):
    """The store refuses a value of the batch; nothing of it was booked."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page of records ends: start (milliseconds since the Unix epoch) and id of its last call."""

    started_at_ms: int
    call_id: str


class LedgerStore(Protocol):
    """The ledger. What a method has returned from survives a loss of power (durable backends). All raise
    StoreAwayError, which is a HeadgateError SERVICE_UNAVAILABLE, while the database does not answer."""

    async def record(self, batch: Batch) -> None:
        """Book a batch in one transaction, and count a beat of its producer. Booking an event again changes
        nothing; a settle that corrects a booked one becomes an adjustment. Raises UnusableBatchError."""

    async def producers(self) -> Mapping[str, int]:
        """Beats of each producer that has open calls."""

    async def expire(
        self, silent: Mapping[str, int], settle: Callable[[OpenCall], Settlement], limit: int
    ) -> int:
        """Settle up to `limit` open calls of the producers that still have these beats; says how many."""

    async def usage(self, account_id: str, start_ms: int, end_ms: int) -> Mapping[str, Usage]:
        """Sums by requested model over calls started in `[start_ms, end_ms)`, adjustments applied."""

    async def records(self, account_id: str, after: Page | None, limit: int) -> list[Settlement]:
        """Up to `limit` settled calls, newest first, adjustments applied, those that follow `after`."""

    async def record_of(self, account_id: str, call_id: str) -> Settlement | None:
        """One settled call of the account, adjustments applied."""

    async def open_calls(self) -> list[OpenCall]:
        """Every call without an end, by call id."""

    async def adjustments(self, call_id: str) -> list[Adjustment]:
        """The corrections of one call, by source."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Every event that could not be booked, by digest."""

    async def prepare(self, now_ms: int) -> None:
        """Make room for the calls of this month and the next. Without it nothing is lost, only slower."""

    async def close(self) -> None:
        """Book what is queued and let go of the store. Idempotent."""


class LeaseStore(Protocol):
    """The buckets of all limits. The store also says what time it is: replicas that each went by their own clock
    would refill a bucket, or end a lease, by as much as their clocks differ. All raise StoreAwayError while it
    does not answer; it may then have been changed, which costs units and never makes any."""

    async def update(
        self, bucket_ids: Collection[str], change: Callable[[MutableMapping[str, Bucket], int], T]
    ) -> T:
        """Run `change` on those of the buckets that are known and on the store's time (milliseconds since the
        Unix epoch), in one transaction; what it leaves in the mapping is stored before this returns its answer.
        `change` must not block, and may run several times."""

    async def forget(self) -> int:
        """Drop the buckets whose `keep_until_ms` has passed; says how many."""

    async def count(self) -> int:
        """Buckets known."""

    async def close(self) -> None:
        """Store what is queued and let go of the store. Idempotent."""
