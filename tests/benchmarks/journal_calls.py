"""CPU of the metering guarantee for one call: intent, slot, settle, sync, shipping to a `send` that does nothing.

Run: python tests/benchmarks/journal_calls.py [calls] [calls per second when paced]
"""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from headgate.context.v1.context_pb2 import CallContext
from headgate.metering.v1.metering_pb2 import OUTCOME_COMPLETED, Quantities, RecordUsageRequest, UsageEvent
from headgate.registry.v1.registry_pb2 import Price
from headgate_clock import SystemClock, uuid7
from headgate_journal import Journal, JournalLimits, MeteredCall, Settlement, Shipper
from headgate_journal.files import MappedFile
from headgate_money import TokenCounts

PRICE = Price(version="v1", input_pico_usd=150_000, output_pico_usd=600_000)
CLOCK = SystemClock()
# About what the shipper can take without falling back on the files.
BUSY = 10_000


class CountingFile(MappedFile):
    """A real file that counts its syncs."""

    syncs = 0

    def sync(self) -> None:
        """Sync and count."""
        CountingFile.syncs += 1
        super().sync()


async def nowhere(request: RecordUsageRequest) -> None:
    """A metering that takes everything."""


class Chats:
    """Makes intents as inference does."""

    def __init__(self) -> None:
        self.account, self.principal = uuid7(CLOCK), uuid7(CLOCK)

    def intent(self) -> UsageEvent:
        """The intent of one more chat."""
        return UsageEvent(
            call=CallContext(
                call_id=uuid7(CLOCK),
                request_id=uuid7(CLOCK),
                account_id=self.account,
                principal_id=self.principal,
                trace_id=os.urandom(16).hex(),
                endpoint="POST /v1/chat/completions",
                config_version=3,
                started_at_ms=CLOCK.wall_ms(),
            ),
            requested_model="fast",
            model="gpt-4o-mini",
            provider="openai",
            price=PRICE,
            worst_case_nano_usd=123_456,
            quantities=Quantities(input_tokens=100),
        )


def one_call(journal: Journal, intent: UsageEvent, counts: TokenCounts) -> None:
    """A whole reply: no progress in between."""
    settlement = Settlement(OUTCOME_COMPLETED, counts, "gpt-4o-mini", "openai", latency_ms=12, attempts=1)
    MeteredCall(journal, intent).settle(settlement)


async def paced(count: int, per_tick: int, tick_s: float, call: Callable[[UsageEvent], None]) -> float:
    """Make `count` intents, `per_tick` at a time, and do with them what `call` does; CPU seconds."""
    chats = Chats()
    cpu, due = time.process_time(), time.perf_counter()
    for _ in range(count // per_tick):
        for _ in range(per_tick):
            call(chats.intent())
        due += tick_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    return time.process_time() - cpu


async def metered(folder: Path, count: int, per_tick: int, tick_s: float) -> float:
    """CPU seconds of calls and of all that follows from them, until metering has them all."""
    journal = Journal.open(folder, clock=CLOCK, limits=JournalLimits(reserve_bytes=0), open_file=CountingFile)
    shipper = Shipper(journal, nowhere, CLOCK)
    task = asyncio.create_task(shipper.run())
    counts = TokenCounts(100, 20)
    CountingFile.syncs = 0
    cpu = await paced(count, per_tick, tick_s, lambda intent: one_call(journal, intent, counts))
    rest = time.process_time()
    await shipper.flush()
    rest = time.process_time() - rest
    task.cancel()
    journal.close()
    return cpu + rest


async def measure(name: str, count: int, per_tick: int, tick_s: float) -> None:
    """One line of figures, less what the pace and the making of the intents cost."""
    with tempfile.TemporaryDirectory(prefix="journal-") as folder:
        before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        cpu = await metered(Path(folder) / "journal", count, per_tick, tick_s)
        after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
        bare = await paced(count, per_tick, tick_s, lambda intent: None)
    switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw
    print(
        f"{name}: {(cpu - bare) / count * 1e6:.1f} us CPU per call, {CountingFile.syncs / wall:.0f} syncs/s, "
        f"{switches / wall:.0f} context switches/s, {count / wall:,.0f} calls/s"
    )


async def main(count: int, rate: int) -> None:
    """In bursts, which shows the work itself; and one by one, where every wake-up and cold cache counts."""
    for _ in range(3):
        await measure(f"{BUSY:,}/s", count, BUSY // 1000, 0.001)
        await measure(f"{rate:,}/s", count, 1, 1 / rate)


if __name__ == "__main__":
    uvloop.run(main(*(int(text) for text in (sys.argv[1:] + ["20000", "2000"][len(sys.argv) - 1 :]))))
