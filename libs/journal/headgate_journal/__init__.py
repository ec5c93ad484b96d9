"""Usage on its way to the ledger: a checksummed local journal, progress that survives `kill -9`, recovery, and
the shipper that brings events to metering."""

from headgate_journal.calls import MeteredCall, Settlement
from headgate_journal.errors import JournalBroken, JournalError, JournalFull, JournalLocked
from headgate_journal.journal import Journal, JournalLimits
from headgate_journal.shipper import Shipper, ShipperLimits

__all__ = [
    "Journal",
    "JournalBroken",
    "JournalError",
    "JournalFull",
    "JournalLimits",
    "JournalLocked",
    "MeteredCall",
    "Settlement",
    "Shipper",
    "ShipperLimits",
]
