"""The log of invalidations in SQL."""

from sqlalchemy import Connection, select

from headgate_auth.invalidation import KEPT, Invalidation, Log, Mark
from headgate_auth.stores.tables import INVALIDATIONS, LOG_END
from headgate_database import notify

CHANNEL = "headgate_auth"


def lock_log(sql: Connection) -> None:
    """Holds the log's end until the commit. Taken before any row that may be invalidated, so that replicas lock in
    one order."""
    sql.execute(select(LOG_END.c.version).with_for_update())


def append(sql: Connection, name: str) -> None:
    """Adds `name` to the log and drops what is older than the last `KEPT`; the log is locked."""
    version = sql.execute(
        LOG_END.update().values(version=LOG_END.c.version + 1).returning(LOG_END.c.version)
    ).scalar_one()
    sql.execute(INVALIDATIONS.insert().values(version=version, name=name))
    sql.execute(INVALIDATIONS.delete().where(INVALIDATIONS.c.version <= version - KEPT))
    notify(sql, CHANNEL)


def read_end(sql: Connection) -> Mark:
    """Where the log ends in this transaction's view."""
    row = sql.execute(select(LOG_END)).one()
    return Mark(row.epoch, row.version)


def read_log(sql: Connection, after: int) -> Log:
    """The log after a version."""
    end = read_end(sql)
    if end.version == after:
        return Log(end, ())
    query = select(INVALIDATIONS).where(INVALIDATIONS.c.version > after).order_by(INVALIDATIONS.c.version)
    return Log(end, tuple(Invalidation(row.version, row.name) for row in sql.execute(query)))
