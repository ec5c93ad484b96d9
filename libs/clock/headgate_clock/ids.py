"""Call ids: UUIDv7 of RFC 9562 section 5.7. Their order is the order of time to the millisecond, which keeps
the ledger's index dense and lets it be partitioned by month."""

from random import getrandbits

from headgate_clock.clock import Clock

# The variant bits `10` leave four values to the first digit of the fourth group.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid7(clock: Clock) -> str:
    """A new UUIDv7 in canonical text form (36 characters, lower case), stamped with the clock's wall time."""
    time = f"{clock.wall_ms():012x}"
    # Unique, not secret: the system's own randomness costs ten times as much, on every call.
    noise = f"{getrandbits(80):020x}"
    return f"{time[:8]}-{time[8:]}-7{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-{noise[7:19]}"
