"""What only a server can do to a store: be away, be silent, be shared."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, event, func, select, text, update
from structlog.testing import capture_logs

from headgate_database import (
    Database,
    OutcomeUnknownError,
    StoreAwayError,
    StoreError,
    identifier,
    insert,
    notify,
)
from headgate_settings import Secret
from headgate_testing.databases import throw_away_database
from headgate_testing.ports import free_port
from headgate_testing.proxy import Proxy

pytestmark = pytest.mark.servers

METADATA = MetaData()
COUNTS = Table(
    "counts",
    METADATA,
    Column("name", identifier(20), primary_key=True),
    Column("count", Integer, nullable=False),
)
TIMEOUT_S = 0.4


@pytest.fixture
def url() -> Iterator[str]:
    with throw_away_database() as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url, METADATA, "counts", timeout_s=TIMEOUT_S)
    yield opened
    await opened.close()


def add(*names: str) -> Callable[[Connection], None]:
    def run(sql: Connection) -> None:
        for name in names:
            fresh = insert(COUNTS).values(name=name, count=1)
            sql.execute(
                fresh.on_conflict_do_update(index_elements=["name"], set_={"count": COUNTS.c.count + 1})
            )

    return run


def counted(sql: Connection) -> dict[str, int]:
    rows = sql.execute(select(COUNTS.c.name, COUNTS.c.count).order_by(COUNTS.c.name))
    return dict(tuple(row) for row in rows)


def end_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def timed(awaitable: Awaitable[object]) -> float:
    """How long it took to be refused, in seconds."""
    start = time.monotonic()
    with pytest.raises(StoreAwayError):
        await awaitable
    return time.monotonic() - start


async def until_back(database: Database) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await database.read(lambda _: None)
            except StoreAwayError:
                await asyncio.sleep(0.05)


async def open_over(proxy: Proxy, url: str) -> Database:
    """Through the proxy, which lives on this loop, so not on its thread."""
    through = url.replace(":".join(map(str, proxy.target)), proxy.address)
    assert through != url
    return await asyncio.to_thread(Database.open, through, METADATA, "counts", timeout_s=TIMEOUT_S)


def server_of(url: str) -> str:
    return url.removeprefix("postgresql://").partition("/")[0].rpartition("@")[2]


async def test_each_service_has_a_schema_of_its_own_in_one_database(url: str) -> None:
    mine, other = (Database.open(url, METADATA, schema) for schema in ("mine", "o'ther"))
    await mine.write(add("a"))
    assert (await mine.read(counted), await other.read(counted)) == ({"a": 1}, {})
    stamp = text("SELECT version_num FROM alembic_version")
    for database in (mine, other):
        assert await database.read(lambda sql: sql.execute(stamp).scalars().all()) == ["0001"]
        await database.close()


async def test_replicas_that_start_together_make_the_schema_once(url: str) -> None:
    databases = await asyncio.gather(
        *[asyncio.to_thread(Database.open, Secret(url), METADATA, "counts") for _ in range(8)]
    )
    await asyncio.gather(*[each.write(add("a", "b")) for each in databases])
    assert await databases[0].read(counted) == {"a": 8, "b": 8}
    for each in databases:
        await each.close()


async def test_ids_are_sorted_by_code_point_whatever_the_database_speaks(database: Database) -> None:
    names = ["Z", "a", "B", "_", "é", "0"]
    await database.write(add(*names))
    assert list(await database.read(counted)) == sorted(names)


async def test_a_reader_sees_one_moment(database: Database) -> None:
    await database.write(add("a"))
    between, go_on = threading.Event(), threading.Event()

    def twice(sql: Connection) -> tuple[object, object]:
        first = counted(sql)
        between.set()
        go_on.wait(10)
        return first, counted(sql)

    reading = asyncio.create_task(database.read(twice))
    await asyncio.to_thread(between.wait, 10)
    await database.write(add("a"))
    go_on.set()
    assert await reading == ({"a": 1}, {"a": 1})


async def test_connections_that_died_unnoticed_are_replaced(database: Database, url: str) -> None:
    for _ in range(3):
        await asyncio.gather(database.write(add("a")), *[database.read(counted) for _ in range(4)])
        end_connections(url)
    assert await database.read(counted) == {"a": 3}
    await database.write(add("a"))


async def test_a_connection_lost_within_a_group_runs_all_of_it_again_once(
    database: Database, url: str
) -> None:
    ends = iter([lambda: end_connections(url)])

    def cut(sql: Connection) -> None:
        add("b")(sql)
        next(ends, lambda: None)()

    await asyncio.gather(*[database.write(each) for each in (add("a"), cut, add("c"))])
    assert await database.read(counted) == {"a": 1, "b": 1, "c": 1}


async def test_a_connection_lost_during_the_commit_leaves_the_outcome_open(
    database: Database, url: str
) -> None:
    def cut(_: Connection) -> None:
        end_connections(url)

    engine = database._engines[0]
    event.listen(engine, "commit", cut)
    with pytest.raises(OutcomeUnknownError):
        await database.write(add("a"))
    event.remove(engine, "commit", cut)
    await database.write(add("b"))
    assert await database.read(counted) in ({"b": 1}, {"a": 1, "b": 1})


async def test_replicas_in_a_deadlock_both_get_through_and_write_once(database: Database, url: str) -> None:
    # Deadlocks are found after a second, so statements must be allowed to wait longer.
    one, two = (Database.open(url, METADATA, "counts", timeout_s=5) for _ in range(2))
    await one.write(add("a", "b"))
    both = threading.Barrier(2)

    def crossing(first: str, second: str) -> Callable[[Connection], None]:
        runs = iter([lambda: both.wait(10)])

        def run(sql: Connection) -> None:
            sql.execute(update(COUNTS).where(COUNTS.c.name == first).values(count=COUNTS.c.count + 1))
            next(runs, lambda: 0)()
            sql.execute(update(COUNTS).where(COUNTS.c.name == second).values(count=COUNTS.c.count + 1))

        return run

    await asyncio.gather(
        one.write(crossing("a", "b")), two.write(crossing("b", "a")), one.write(add("c")), two.write(add("c"))
    )
    assert await one.read(counted) == {"a": 3, "b": 3, "c": 2}
    await one.close()
    await two.close()


async def test_a_lock_that_is_held_too_long_is_waited_for_no_longer(database: Database, url: str) -> None:
    await database.write(add("a"))
    with psycopg.connect(url) as holder:
        holder.execute("UPDATE counts.counts SET count = 5")
        assert await timed(database.write(add("a"))) < 5 * TIMEOUT_S
        assert await database.read(counted) == {"a": 1}
    await database.write(add("a"))
    assert await database.read(counted) == {"a": 6}


async def test_a_process_that_stops_within_a_transaction_loses_its_locks(url: str) -> None:
    stalled, other = (Database.open(url, METADATA, "counts", timeout_s=limit) for limit in (0.2, 5))
    await other.write(add("a"))
    locked, go_on = threading.Event(), threading.Event()

    def stall(sql: Connection) -> None:
        add("a")(sql)
        locked.set()
        go_on.wait(10)

    held = asyncio.create_task(stalled.write(stall))
    await asyncio.to_thread(locked.wait, 10)
    await other.write(add("a"))
    go_on.set()
    await held  # noticed that nothing of it was there, and ran again
    assert await other.read(counted) == {"a": 3}
    await stalled.close()
    await other.close()


async def test_a_notice_comes_after_the_commit_that_sent_it_and_after_a_gap(
    database: Database, url: str
) -> None:
    woken: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    other = Database.open(url, METADATA, "counts")

    def wake() -> None:
        loop.call_soon_threadsafe(woken.put_nowait, None)

    assert other.listen("counted", wake)

    def failing(sql: Connection) -> None:
        notify(sql, "counted")
        raise LookupError("changed its mind")

    async with asyncio.timeout(20):
        await woken.get()  # it listens now
        with pytest.raises(LookupError):
            await database.write(failing)
        await database.write(lambda sql: notify(sql, "somewhere else"))
        assert woken.empty()
        await database.write(lambda sql: notify(sql, "counted"))
        await woken.get()
        end_connections(url)
        await woken.get()
    await other.close()


async def test_a_black_hole_hangs_nobody_and_its_end_is_found(url: str) -> None:
    async with Proxy(server_of(url)) as proxy:
        database = await open_over(proxy, url)
        await database.write(add("a"))
        await database.read(counted)
        proxy.swallow()
        first = [timed(database.write(add("b"))), *[timed(database.read(counted)) for _ in range(20)]]
        slowest = max(await asyncio.gather(*first))
        later = max(await asyncio.gather(timed(database.write(add("b"))), timed(database.read(counted))))
        print(
            f"statements of {TIMEOUT_S} s: refused within {slowest:.2f} s, later calls within {later:.4f} s"
        )
        assert slowest < 5 * (TIMEOUT_S + 0.5)
        assert later < 0.25
        assert database.opened
        await proxy.heal()
        await until_back(database)
        await database.write(add("c"))
        assert await database.read(counted) == {"a": 1, "c": 1}
        await database.close()


async def test_a_server_that_comes_later_is_found(url: str) -> None:
    async with Proxy(server_of(url)) as proxy:
        proxy.refuse()
        database = await open_over(proxy, url)
        opened = [database.opened]
        assert await timed(database.write(add("a"))) < 0.25
        assert await timed(database.read(counted)) < 0.25
        await proxy.heal()
        await until_back(database)
        assert [*opened, database.opened] == [False, True]
        await database.write(add("a"))
        await database.close()


async def test_a_store_that_never_came_is_closed_like_any_other() -> None:
    database = Database.open(f"postgresql://127.0.0.1:{free_port()}/none", METADATA, "counts")
    await database.close()
    await database.close()


async def test_no_password_is_shown() -> None:
    word = "hunter2hunter2"
    address = f"127.0.0.1:{free_port()}"
    with capture_logs() as logs:
        database = Database.open(f"postgresql://me:{word}@{address}/none", METADATA, "counts")
        with pytest.raises(StoreAwayError) as away:
            await database.read(counted)
        await database.close()
        with pytest.raises(StoreError) as refusal:
            Database.open(f"postgresql://me:{word}@{address}/none?nonsense=1", METADATA, "counts")
    assert [line["event"] for line in logs] == ["database away"]
    assert address in logs[0]["store"]
    for shown in (str(logs), repr(away.value), str(refusal.value), repr(refusal.value.__cause__)):
        assert word not in shown


def test_a_schema_that_is_not_ours_is_refused(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("CREATE SCHEMA counts; CREATE TABLE counts.other (id int)")
    with pytest.raises(StoreError, match=r"schema counts is not a store of this program"):
        Database.open(url, METADATA, "counts")


async def test_a_role_that_may_not_make_schemas_can_use_one_that_is_there(url: str) -> None:
    role = "reader_" + url.rpartition("_")[2]
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"CREATE ROLE {role} LOGIN")
        try:
            as_role = f"postgresql://{role}@{server_of(url)}/{url.rpartition('/')[2]}"
            with pytest.raises(StoreError, match="permission denied"):
                Database.open(as_role, METADATA, "counts")
            other.execute(f"CREATE SCHEMA counts AUTHORIZATION {role}")
            database = Database.open(as_role, METADATA, "counts")
            await database.write(add("a"))
            assert (
                await database.read(
                    lambda sql: sql.execute(select(func.count()).select_from(COUNTS)).scalar()
                )
                == 1
            )
            await database.close()
        finally:
            other.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
