"""What a holder tells its callers about a bucket."""

from dataclasses import dataclass

from msgspec import Struct


class BucketState(Struct, frozen=True):
    """The figures of the limit headers: units the bucket can hold, units left to this process as far as it
    knows, and when the bucket is full again (Unix milliseconds). Every call makes two."""

    limit: int
    remaining: int
    reset_at_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why units were not given.

    `known` is True on metering's word (the limit is reached: 429) and False when metering is away and this
    process has used up its fair share (503). `never_fits` says that more was wanted than the bucket can hold.
    `retry_after_ms` is when the wanted units will be there, at least 1."""

    bucket_id: str
    wanted: int
    state: BucketState
    retry_after_ms: int
    known: bool = True
    never_fits: bool = False
