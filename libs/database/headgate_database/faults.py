"""Whose fault an error of the database is, and so what may be done about it."""

from enum import Enum

from sqlalchemy.exc import DBAPIError

# SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONFLICT = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_AWAY = frozenset({"08006"})  # connection failure: how a connection of ours says that nothing answers
_BUSY = frozenset(
    {"57014", "55P03", "53000", "53100", "53200", "53300", "53400"}
)  # too slow, or out of something


class Fault(Enum):
    """What an error says about the database. SQLite's are always OWN."""

    OWN = "the statement's own: repeating it brings the same"
    CONFLICT = "another transaction was in the way: nothing is written"
    BUSY = "the database answers, but not in time: nothing is written"
    LOST = "the connection had ended: nothing is written unless a commit was under way"
    AWAY = "nothing answers any more"


def fault_of(error: BaseException) -> Fault:
    """The fault that `error`, raised by a statement or a commit, tells of."""
    if not isinstance(error, DBAPIError):
        return Fault.OWN
    state = getattr(error.orig, "sqlstate", None)
    if state in _AWAY:
        return Fault.AWAY
    if error.connection_invalidated:
        return Fault.LOST
    if state in _CONFLICT:
        return Fault.CONFLICT
    return Fault.BUSY if state in _BUSY else Fault.OWN
