"""Call ids: UUIDv7 of RFC 9562 section 5.7. Their order is the order of time to the millisecond, which keeps
the ledger's index dense and lets it be partitioned by month."""

from random import getrandbits

from headgate_clock.clock import Clock

_VERSION_AND_VARIANT = 7 << 76 | 2 << 62


def uuid7(clock: Clock) -> str:
    """A new UUIDv7 in canonical text form (36 characters, lower case), stamped with the clock's wall time."""
    # Unique, not secret: the system's own randomness costs ten times as much, on every call.
    number = clock.wall_ms() << 80 | _VERSION_AND_VARIANT | getrandbits(12) << 64 | getrandbits(62)
    digits = number.to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
