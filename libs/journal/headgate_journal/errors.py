"""Why a journal refuses."""


class JournalError(Exception):
    """The journal cannot do what was asked."""


class JournalLocked(JournalError):
    """Another process writes this journal."""


class JournalFull(JournalError):
    """No room, by limit or by disk. Nothing of the event was written."""


class JournalBroken(JournalError):
    """The disk failed to sync; what was written since may be lost, so nothing more is accepted."""
