"""Limits that hold over all processes although each decides alone: metering grants leases, holders spend them."""

from headgate_leases.bucket import Level, TokenBucket
from headgate_leases.grant import Answer, answer_ask, grant_units
from headgate_leases.holder import HolderLimits, LeaseHolder
from headgate_leases.refusal import BucketState, Refusal

__all__ = [
    "Answer",
    "BucketState",
    "HolderLimits",
    "LeaseHolder",
    "Level",
    "Refusal",
    "TokenBucket",
    "answer_ask",
    "grant_units",
]
