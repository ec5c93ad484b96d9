"""Two replicas of metering over one PostgreSQL, or one Redis, are as one: no call is booked twice, no producer is
swept behind the back of the replica it talks to, and no limit is exceeded."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from headgate.metering.v1 import metering_pb2 as pb
from headgate_admission.built_in import BUILTIN_POLICIES
from headgate_leases.bucket import TokenBucket
from headgate_leases.holder import HolderLimits, LeaseHolder
from headgate_metering.app import build
from headgate_metering.buckets import Ask
from headgate_metering.leasing import Leasing
from headgate_metering.ledger import Ledger
from headgate_metering.policies import Limits
from headgate_metering.settings import MeteringSettings
from headgate_metering.steady_time import SteadyTime
from headgate_metering.store import LeaseStore
from headgate_metering.stores.redis_leases import RedisLeaseStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore
from headgate_metering.sweeper import Sweeper
from headgate_metering.usage_event import Batch
from headgate_metering.wire import grant_message, read_ask
from headgate_settings import Secret
from headgate_settings.config import ConfigFile
from headgate_testing.clock import FakeClock
from headgate_testing.databases import throw_away_database
from headgate_testing.redis_keys import redis_server, throw_away_keys

pytestmark = pytest.mark.servers

START = 1_700_006_400_000
CALLS = 150
PRO = "requests/pro/default/key_1"
PER_MINUTE = 500  # of the policy pro


@pytest.fixture
def database() -> Iterator[str]:
    with throw_away_database() as url:
        yield url


@pytest.fixture
async def replicas(database: str) -> AsyncIterator[tuple[SqlLedgerStore, SqlLedgerStore]]:
    one, two = SqlLedgerStore.open(database), SqlLedgerStore.open(database)
    yield one, two
    await one.close()
    await two.close()


def event(number: int, kind: "pb.EventKind.ValueType", seq: int, output: int) -> pb.UsageEvent:
    made = pb.UsageEvent(kind=kind, seq=10 * number + seq, producer_id="journal-1", requested_model="gpt-4")
    made.call.call_id = f"018bcfe5-6800-7000-8000-{number:012x}"
    made.call.account_id, made.call.started_at_ms = f"acct_{number % 3}", START
    made.quantities.output_tokens = output
    if kind == pb.EVENT_KIND_SETTLE:
        made.outcome = pb.OUTCOME_COMPLETED
    return made


def life(number: int) -> list[pb.UsageEvent]:
    """A call of `number` tokens and a correction of one more."""
    return [
        event(number, pb.EVENT_KIND_INTENT, 1, 0),
        event(number, pb.EVENT_KIND_CHECKPOINT, 2, number // 2),
        event(number, pb.EVENT_KIND_SETTLE, 3, number),
        event(number, pb.EVENT_KIND_ADJUST, 4, 1),
    ]


async def test_events_that_reach_either_replica_several_times_in_any_order_make_one_row(
    replicas: tuple[SqlLedgerStore, SqlLedgerStore],
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    deliveries = [each for number in range(CALLS) for each in life(number) for _ in range(draw.randint(1, 3))]
    draw.shuffle(deliveries)

    async def deliver(ledger: Ledger) -> None:
        while deliveries:
            batch = [deliveries.pop() for _ in range(min(len(deliveries), draw.randint(1, 30)))]
            await ledger.record("journal-1", batch)

    async with asyncio.TaskGroup() as group:
        for store in replicas * 3:  # three senders to each
            group.create_task(deliver(Ledger(store)))

    for store in replicas:
        assert await store.dead_letters() == []
        assert await store.open_calls() == []
        rows = [row for n in range(3) for row in await store.records(f"acct_{n}", None, 1000)]
        booked = {row.call.call_id: row.quantities.output_tokens for row in rows}
        assert len(rows) == CALLS
        assert booked == {life(n)[0].call.call_id: n + 1 for n in range(CALLS)}
        # A day that is whole comes from the daily sums.
        sums = [await store.usage(f"acct_{n}", START, START + 86_400_000) for n in range(3)]
        assert sum(each["gpt-4"].requests for each in sums) == CALLS
        assert sum(each["gpt-4"].quantities.output_tokens for each in sums) == sum(range(1, CALLS + 1))


async def test_a_producer_is_not_silent_for_the_replica_that_it_does_not_talk_to(
    replicas: tuple[SqlLedgerStore, SqlLedgerStore],
) -> None:
    clock, (talks, other) = FakeClock(), replicas
    await Ledger(talks).record("journal-1", [event(1, pb.EVENT_KIND_INTENT, 1, 0)])
    sweeper = Sweeper(other, clock, silence_s=60)
    for _ in range(60):
        clock.advance(5)
        await talks.record(Batch("journal-1"))
        assert await sweeper.sweep() == 0


async def test_two_sweepers_settle_a_call_once(replicas: tuple[SqlLedgerStore, SqlLedgerStore]) -> None:
    clock = FakeClock()
    intents = [event(n, pb.EVENT_KIND_INTENT, 1, 0) for n in range(900)]  # two rounds of a sweeper
    await Ledger(replicas[0]).record("journal-1", intents)
    sweepers = [Sweeper(store, clock, silence_s=60) for store in replicas]
    swept = 0
    for _ in range(14):
        swept += sum(await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers)))
        clock.advance(5)
    assert swept == 900
    rows = [row for n in range(3) for row in await replicas[0].records(f"acct_{n}", None, 1000)]
    assert len(rows) == len({row.call.call_id for row in rows}) == 900


def redis_leases(clock: FakeClock, prefix: str, time: SteadyTime | None = None) -> RedisLeaseStore:
    """Under the prefix, and patient with a busy machine."""
    return RedisLeaseStore(Redis.from_url(redis_server()), clock, time=time, prefix=prefix, timeout_s=10)


@asynccontextmanager
async def lease_stores(engine: str, clock: FakeClock) -> AsyncIterator[tuple[LeaseStore, LeaseStore]]:
    """The stores of two replicas, at the time of the clock."""
    time = SteadyTime(clock)
    async with AsyncExitStack() as stack:
        if engine == "redis":
            prefix = await stack.enter_async_context(throw_away_keys())
            one, two = (redis_leases(clock, prefix, time) for _ in range(2))
            for store in (one, two):
                stack.push_async_callback(store.close)
            yield one, two
            return
        url = stack.enter_context(throw_away_database())
        first, second = SqlLeaseStore.open(url, time), SqlLeaseStore.open(url, time)
        stack.push_async_callback(first.close)
        stack.push_async_callback(second.close)
        yield first, second


def holders_of(stores: tuple[LeaseStore, LeaseStore], clock: FakeClock) -> list[LeaseHolder]:
    """Four data planes, each of whose asks goes to either replica in turn."""
    leasings = [Leasing(store, Limits(BUILTIN_POLICIES.values())) for store in stores]
    turns = iter(range(1_000_000))

    async def acquire(request: pb.AcquireLeasesRequest) -> pb.AcquireLeasesResponse:
        leasing = leasings[next(turns) % 2]
        grants = await leasing.acquire(request.holder_id, [read_ask(ask) for ask in request.asks])
        return pb.AcquireLeasesResponse(grants=[grant_message(each, request.holder_id, 0) for each in grants])

    # No call may take a slow store for one that is away, and so its fair share.
    patient = HolderLimits(wait_s=20, ask_timeout_s=20)
    return [LeaseHolder(name, acquire, clock, patient) for name in "abcd"]


@pytest.mark.parametrize("engine", ["postgres", "redis"])
async def test_four_holders_at_four_times_the_limit_get_no_more_than_the_limit(engine: str) -> None:
    clock = FakeClock()
    figures = TokenBucket(PER_MINUTE, PER_MINUTE)
    admitted: list[float] = []
    async with lease_stores(engine, clock) as stores:
        holders = holders_of(stores, clock)

        async def demand(holder: LeaseHolder, calls: int) -> None:
            for _ in range(calls):
                if await holder.acquire(PRO, 1, figures) is None:
                    admitted.append(clock.monotonic())

        begin = clock.monotonic()
        await asyncio.gather(*(demand(holder, PER_MINUTE) for holder in holders))
        at_once = len(admitted)
        for _ in range(70):  # 7 s more, each 0.1 s with four times what refills
            clock.advance(0.1)
            await asyncio.gather(*(demand(holder, 1) for holder in holders))
        assert not sum(holder.fair_shares for holder in holders)
        for holder in holders:
            await holder.close()
    over = max(
        index + 1 - PER_MINUTE - int((moment - begin) * PER_MINUTE / 60 + 1e-6)
        for index, moment in enumerate(admitted)
    )
    print(f"{engine}: {at_once} of {PER_MINUTE} at once, {len(admitted) - at_once} of 58 in the next 7 s")
    assert over <= 0
    assert at_once >= PER_MINUTE * 0.98


@pytest.mark.parametrize("engine", ["postgres", "redis"])
async def test_replicas_whose_clocks_differ_by_ten_minutes_spend_a_limit_once(
    engine: str, database: str, tmp_path: Path
) -> None:
    config = tmp_path / "headgate.yaml"
    config.write_text("policies: {slow: {limits: {default: {requests_per_minute: 1, burst: 40}}}}\n")
    file = ConfigFile(config, {})
    file.read()
    settings = MeteringSettings(
        data=tmp_path,
        database_url=Secret(database),
        redis_url=Secret(redis_server() if engine == "redis" else ""),
    )
    bucket_id = f"requests/slow/default/{secrets.token_hex(8)}"
    apps = [build(settings, file, FakeClock(wall_ms=START + skew)) for skew in (-300_000, 300_000)]
    granted = 0
    # First the one that is behind: to the other one ten minutes would have passed, and ten units have come back.
    for turn in range(90):  # within 60 s of real time a single unit refills
        leasing = apps[turn // 45].servicer.leasing
        [grant] = await leasing.acquire(f"holder-{turn % 4}", [Ask(bucket_id, 1, spent=min(turn, 1))])
        granted += grant.units
    for app in apps:
        await app.stop()
    assert 40 <= granted <= 41


async def test_when_redis_loses_its_keys_a_limit_is_admitted_once_more_and_no_oftener() -> None:
    clock = FakeClock()
    async with throw_away_keys() as prefix, Redis.from_url(redis_server()) as client:
        store = redis_leases(clock, prefix, SteadyTime(clock))
        leasing = Leasing(store, Limits(BUILTIN_POLICIES.values()))
        granted = 0
        for turn in range(3 * PER_MINUTE):
            if turn == PER_MINUTE // 2:
                await client.delete(prefix + PRO)
            [grant] = await leasing.acquire("a", [Ask(PRO, 1, spent=1)])
            granted += grant.units
        await store.close()
    assert PER_MINUTE < granted <= 2 * PER_MINUTE
