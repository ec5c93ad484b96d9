"""Call ids are well-formed UUIDv7 that carry their time."""

import uuid

from headgate_clock import SystemClock, uuid7
from headgate_testing.clock import FakeClock


def test_call_id_is_a_canonical_uuid_of_version_7() -> None:
    for _ in range(200):
        text = uuid7(SystemClock())
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)


def test_call_id_carries_the_wall_time_and_sorts_by_it() -> None:
    clock = FakeClock(wall_ms=1_700_000_000_123)
    first = uuid7(clock)
    clock.advance(0.001)
    assert uuid.UUID(first).int >> 80 == 1_700_000_000_123
    assert uuid7(clock) > first


def test_call_ids_of_one_millisecond_differ() -> None:
    clock = FakeClock()
    assert len({uuid7(clock) for _ in range(1000)}) == 1000


def test_fake_clock_moves_both_times_by_the_same_amount_and_only_when_told() -> None:
    clock = FakeClock(wall_ms=5, monotonic=1.0)
    clock.advance(2.5)
    clock.skew(-1)
    assert (clock.wall_ms(), clock.monotonic()) == (1505, 3.5)
