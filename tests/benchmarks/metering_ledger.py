"""How fast the ledger books and how long a grant takes. Run: python tests/benchmarks/metering_ledger.py

Prints settled events per second of wall clock and of CPU (batches of 500 through RecordUsage's domain function
into SQLite with synchronous=FULL), and the latency of AcquireLeases over SQLite (1 and 20 asks)."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from headgate.metering.v1 import metering_pb2 as pb
from headgate_clock import SystemClock, uuid7
from headgate_metering.buckets import Ask
from headgate_metering.leasing import Leasing
from headgate_metering.ledger import Ledger
from headgate_metering.policies import BUILTIN_POLICIES, Limits
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore

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


async def ledger_speed(folder: Path) -> None:
    store = SqlLedgerStore.open(folder / "ledger.sqlite3")
    ledger = Ledger(store)
    batches = [[settle(n * BATCH + i) for i in range(BATCH)] for n in range(BATCHES)]
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        await ledger.record("journal-1", batch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    events = BATCH * BATCHES
    print(
        f"settled events: {events / wall:,.0f}/s, {events / cpu:,.0f} per CPU second ({cpu / events * 1e6:.0f} µs each)"
    )
    wall = time.perf_counter()
    for batch in batches[:10]:
        await ledger.record("journal-1", batch)
    print(f"redelivered events: {10 * BATCH / (time.perf_counter() - wall):,.0f}/s")
    wall = time.perf_counter()
    await store.usage("acct_0007", 0, CLOCK.wall_ms() // 86_400_000 * 86_400_000 + 86_400_000)
    print(f"usage of all whole days: {(time.perf_counter() - wall) * 1e3:.1f} ms")
    await store.close()


async def lease_latency(folder: Path) -> None:
    store = SqlLeaseStore.open(folder / "leases.sqlite3")
    leasing = Leasing(store, Limits(BUILTIN_POLICIES.values()), CLOCK)
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


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await ledger_speed(Path(folder))
        await lease_latency(Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
