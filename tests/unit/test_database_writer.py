"""One transaction carries many writes, and each stands or falls alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, event, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from headgate_database import Database
from headgate_testing.databases import ENGINES, location

METADATA = MetaData()
NUMBERS = Table("numbers", METADATA, Column("value", Integer, primary_key=True))


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with location(request.param, tmp_path) as place:
        yield place


@pytest.fixture
async def database(place: str) -> AsyncIterator[Database]:
    opened = Database.open(place, METADATA, "numbers")
    yield opened
    await opened.close()


def insertion(value: int):
    def insert(connection: Connection) -> int:
        connection.execute(NUMBERS.insert().values(value=value))
        return value

    return insert


def stored(connection: Connection) -> list[int]:
    return list(connection.execute(select(NUMBERS.c.value).order_by(NUMBERS.c.value)).scalars())


class Commits:
    """Counts commits, and holds the writer until told to go on."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        self.gate = threading.Event()
        event.listen(database._engines[0], "commit", self._on_commit)

    def _on_commit(self, _: Connection) -> None:
        self.count += 1

    def block(self, _: Connection) -> None:
        self.gate.wait()


async def test_a_result_comes_after_its_commit_and_is_seen_by_readers(database: Database) -> None:
    assert await database.write(insertion(7)) == 7
    assert await database.read(stored) == [7]


async def test_writes_queued_behind_a_commit_share_the_next_one(database: Database) -> None:
    commits = Commits(database)
    first = asyncio.create_task(database.write(commits.block))
    await asyncio.sleep(0)
    others = [asyncio.create_task(database.write(insertion(n))) for n in range(200)]
    await asyncio.sleep(0)
    commits.gate.set()
    assert await asyncio.gather(first, *others) == [None, *range(200)]
    assert commits.count <= 2
    assert await database.read(lambda c: c.execute(select(func.count()).select_from(NUMBERS)).scalar()) == 200


async def test_one_that_fails_leaves_no_trace_and_does_not_harm_its_neighbours(database: Database) -> None:
    commits = Commits(database)

    def halfway(connection: Connection) -> None:
        connection.execute(NUMBERS.insert().values(value=100))
        raise LookupError("changed its mind")

    first = asyncio.create_task(database.write(commits.block))
    jobs = [insertion(1), halfway, insertion(1), insertion(2)]
    tasks = [asyncio.create_task(database.write(job)) for job in jobs]
    await asyncio.sleep(0)
    commits.gate.set()
    one, two, three, four = await asyncio.gather(*tasks, return_exceptions=True)
    await first
    assert (one, four) == (1, 2)
    assert isinstance(two, LookupError)
    assert isinstance(three, IntegrityError)
    assert await database.read(stored) == [1, 2]


async def test_nothing_is_delivered_when_the_commit_fails(database: Database) -> None:
    def refuse(_: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("disk full"))

    engine = database._engines[0]
    event.listen(engine, "commit", refuse)
    with pytest.raises(OperationalError, match="disk full"):
        await database.write(insertion(1))
    event.remove(engine, "commit", refuse)
    assert await database.write(insertion(2)) == 2
    assert await database.read(stored) == [2]


async def test_a_caller_that_goes_away_does_not_stop_its_write_or_the_others(database: Database) -> None:
    commits = Commits(database)
    first = asyncio.create_task(database.write(commits.block))
    gone = asyncio.create_task(database.write(insertion(1)))
    stays = asyncio.create_task(database.write(insertion(2)))
    await asyncio.sleep(0)
    gone.cancel()
    commits.gate.set()
    assert await stays == 2
    await first
    assert gone.cancelled()
    assert await database.read(stored) == [1, 2]


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"):
        await database.read(insertion(1))


async def test_closing_commits_what_was_queued(place: str) -> None:
    database = Database.open(place, METADATA, "numbers")
    tasks = [asyncio.create_task(database.write(insertion(n))) for n in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*tasks)
    await database.close()
    with pytest.raises(RuntimeError, match="closed"):
        await database.write(insertion(99))
    again = Database.open(place, METADATA, "numbers")
    assert await again.read(stored) == list(range(20))
    await again.close()
