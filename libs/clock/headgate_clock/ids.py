"""Call ids: UUIDv7 of RFC 9562 section 5.7. Their order is the order of time to the millisecond, which keeps
the ledger's index dense and lets it be partitioned by month."""

from random import getrandbits

from headgate_clock.clock import Clock


def uuid7(clock: Clock) -> str:
    """A new UUIDv7 in canonical text form (36 characters, lower case), stamped with the clock's wall time."""
    ms = clock.wall_ms()
    # Unique, not secret: the system's own randomness costs ten times as much, on every call.
    noise = getrandbits(74)
    return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031 - two thirds of an f-string's time
        ms >> 16, ms & 0xFFFF, noise >> 62, 0x8000 | noise >> 48 & 0x3FFF, noise & 0xFFFF_FFFF_FFFF,
    )  # fmt: skip
