"""How fast the ledger books and how long a grant takes. Run: python tests/benchmarks/metering_ledger.py [sqlite|postgres]

Prints settled events per second and the CPU of each (batches of 500 as they come off the wire, through RecordUsage's
domain function into SQLite with synchronous=FULL; the kernel's part is the disk's and holds up no other thread), and
the latency of AcquireLeases (1 and 20 asks). With `postgres`, the same on a throw-away database of
HEADGATE_TEST_POSTGRES; then the CPU is that of metering and, where the server runs on this machine, its own, and
leases are also measured on HEADGATE_TEST_REDIS. Pin it and the server with taskset for figures of one core.
Last the shipper's side: CPU of a call's two events from memory to a request."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from redis.asyncio import Redis

from headgate.metering.v1 import metering_pb2 as pb
from headgate_admission.built_in import BUILTIN_POLICIES
from headgate_clock import SystemClock, uuid7
from headgate_journal import Journal, Shipper, ShipperLimits
from headgate_metering.buckets import Ask
from headgate_metering.leasing import Leasing
from headgate_metering.ledger import Ledger
from headgate_metering.policies import Limits
from headgate_metering.store import LeaseStore
from headgate_metering.stores.redis_leases import RedisLeaseStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore
from headgate_testing.databases import location
from headgate_testing.redis_keys import redis_server, throw_away_keys

BATCH, BATCHES = 500, 60
CLOCK = SystemClock()


def settle(number: int) -> pb.UsageEvent:
    event = pb.UsageEvent(
        kind=pb.EVENT_KIND_SETTLE,
        outcome=pb.OUTCOME_COMPLETED,
        producer_id="7f3c9d9e4b1a4f1e9a55c0ffee000001",
        seq=number + 1,
        time_ms=CLOCK.wall_ms(),
        requested_model=("gpt-4o-mini", "llama-2-70b")[number % 2],
        model="gpt-4o-mini",
        provider="openai",
        cost_nano_usd=123_456,
        quantities=pb.Quantities(input_tokens=812, output_tokens=164),
        latency_ms=1234,
        first_token_ms=210,
        attempts=1,
    )
    call = event.call
    call.call_id, call.request_id = uuid7(CLOCK), f"req_{number:032x}"
    call.account_id, call.principal_id = f"acct_{number % 50:04}", f"key_{number % 200:04}"
    call.trace_id, call.endpoint = f"{number:032x}", "POST /v1/chat/completions"
    call.started_at_ms = CLOCK.wall_ms()
    event.price.version = "2026-11-01"
    event.price.input_pico_usd, event.price.output_pico_usd = 150_000, 600_000
    return event


async def ledger_speed(place: str) -> None:
    store = SqlLedgerStore.open(place)
    await store.prepare(CLOCK.wall_ms())
    ledger = Ledger(store)
    batches = [
        pb.RecordUsageRequest(
            producer_id="journal-1", events=[settle(n * BATCH + i) for i in range(BATCH)]
        ).SerializeToString()
        for n in range(BATCHES)
    ]
    wall, before, server = time.perf_counter(), os.times(), server_cpu_s()
    for batch in batches:
        await ledger.record("journal-1", pb.RecordUsageRequest.FromString(batch).events)
    wall, after, server = time.perf_counter() - wall, os.times(), server_cpu_s() - server
    events = BATCH * BATCHES
    user, kernel = (after.user - before.user) / events, (after.system - before.system) / events
    print(
        f"settled events: {events / wall:,.0f}/s; CPU each {user * 1e6:.1f} µs, {kernel * 1e6:.1f} µs of the kernel, "
        f"{server / events * 1e6:.1f} µs of the server"
    )
    wall = time.perf_counter()
    for batch in batches[:10]:
        await ledger.record("journal-1", pb.RecordUsageRequest.FromString(batch).events)
    print(f"redelivered events: {10 * BATCH / (time.perf_counter() - wall):,.0f}/s")
    wall = time.perf_counter()
    await store.usage("acct_0007", 0, CLOCK.wall_ms() // 86_400_000 * 86_400_000 + 86_400_000)
    print(f"usage of all whole days: {(time.perf_counter() - wall) * 1e3:.1f} ms")
    await store.close()


def server_cpu_s() -> float:
    """CPU seconds of the PostgreSQL processes of this machine, 0 where there are none."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            if name == "postgres":
                ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def lease_latency(store: LeaseStore) -> None:
    leasing = Leasing(store, Limits(BUILTIN_POLICIES.values()))
    for size in (1, 20):
        times = []
        for round_ in range(500):
            asks = [
                Ask(f"requests/pro/default/key_{(round_ * size + n) % 300}", 1, spent=1) for n in range(size)
            ]
            begin = time.perf_counter()
            await leasing.acquire("holder-1", asks)
            times.append((time.perf_counter() - begin) * 1e3)
        cuts = statistics.quantiles(times, n=100)
        print(
            f"AcquireLeases, {size} asks: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms, max {max(times):.2f} ms"
        )
    await store.close()


async def shipper_cost(folder: Path) -> None:
    """The shipper with a metering that takes everything at once."""
    calls = 10_000
    journal = Journal.open(folder / "journal", clock=CLOCK)

    async def take(request: pb.RecordUsageRequest) -> None:
        return

    shipper = Shipper(journal, take, CLOCK, ShipperLimits(interval_s=0.0, memory=3 * calls))
    for number in range(calls):
        event = settle(number)
        event.kind = pb.EVENT_KIND_INTENT
        journal.append(event)
        event.kind = pb.EVENT_KIND_SETTLE
        journal.append(event)
    await journal.synced(journal.last_seq)
    begin = time.thread_time()
    task = asyncio.create_task(shipper.run())
    await shipper.flush()
    print(f"shipper: {(time.thread_time() - begin) / calls * 1e6:.1f} µs a call")
    task.cancel()
    journal.close()


async def main() -> None:
    engine = sys.argv[1] if len(sys.argv) > 1 else "sqlite"
    with tempfile.TemporaryDirectory() as folder:
        with location(engine, Path(folder)) as place:
            await ledger_speed(place)
        with location(engine, Path(folder) / "leases") as place:
            await lease_latency(SqlLeaseStore.open(place))
        if engine == "postgres":
            async with throw_away_keys() as prefix:
                print("on Redis:")
                client = Redis.from_url(redis_server())
                await lease_latency(RedisLeaseStore(client, CLOCK, prefix=prefix, timeout_s=10))
        await shipper_cost(Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
