"""Where time comes from: injected everywhere, so that tests can step it and skew it."""

from headgate_clock.clock import Clock, SystemClock
from headgate_clock.ids import uuid7

__all__ = ["Clock", "SystemClock", "uuid7"]
