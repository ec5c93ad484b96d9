"""R3: whatever order events come in, however often, over reopenings and sweeps, the ledger is what a model of a
few lines says it is."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.metering.v1 import metering_pb2 as pb
from headgate_metering.ledger import Ledger
from headgate_metering.store import LedgerStore
from headgate_metering.stores.ledger_tables import METADATA
from headgate_metering.stores.memory_ledger import MemoryLedgerStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore
from headgate_metering.sweeper import expired
from headgate_metering.usage_event import DAY_MS, Quantities, Usage
from headgate_testing.databases import throw_away_database

START = 1_700_006_400_000
PRODUCERS = ("journal-1", "journal-2")
REOPEN, SWEEP = "reopen", "sweep"


@dataclass(frozen=True)
class Life:
    """One call: its progress, how it ended (None: never), a later correction."""

    number: int
    checkpoints: int
    output: int | None
    correction: int | None

    @property
    def call_id(self) -> str:
        return f"018bcfe5-6800-7000-8000-{self.number:012x}"

    def events(self) -> list[pb.UsageEvent]:
        events = [self._event(pb.EVENT_KIND_INTENT, 1, 0)]
        for n in range(1, self.checkpoints + 1):
            events.append(self._event(pb.EVENT_KIND_CHECKPOINT, 1 + n, 32 * n))
        if self.output is not None:
            events.append(self._event(pb.EVENT_KIND_SETTLE, 90, self.output))
            if self.correction is not None:
                events.append(self._event(pb.EVENT_KIND_ADJUST, 91, self.correction))
        return events

    def _event(self, kind: "pb.EventKind.ValueType", seq: int, output: int) -> pb.UsageEvent:
        event = pb.UsageEvent(kind=kind, seq=100 * self.number + seq, producer_id=PRODUCERS[self.number % 2])
        event.call.call_id = self.call_id
        event.quantities.output_tokens = output
        event.cost_nano_usd = 7 * output
        if kind != pb.EVENT_KIND_CHECKPOINT:
            event.call.account_id = f"acct_{self.number % 3}"
            event.call.started_at_ms = START + self.number * DAY_MS // 3
            event.requested_model = f"model-{self.number % 2}"
        if kind == pb.EVENT_KIND_SETTLE:
            event.outcome = pb.OUTCOME_COMPLETED
        return event


def model(lives: list[Life]) -> dict[str, tuple[int, int]]:
    """Output and cost by call: every ended call once, plus its correction once."""
    return {
        life.call_id: (life.output + (life.correction or 0), 7 * (life.output + (life.correction or 0)))
        for life in lives
        if life.output is not None
    }


@st.composite
def lives(draw: st.DrawFn) -> list[Life]:
    ends = st.none() | st.integers(0, 200)
    shapes = draw(
        st.lists(st.tuples(st.integers(0, 4), ends, st.none() | st.integers(-20, 20)), min_size=1, max_size=8)
    )
    return [Life(number, *shape) for number, shape in enumerate(shapes)]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Life], list[list[pb.UsageEvent] | str]]:
    drawn = draw(lives())
    deliveries: list[pb.UsageEvent] = []
    for life in drawn:
        for event in life.events():
            deliveries += [event] * draw(st.integers(1, 5))
    shuffled = draw(st.permutations(deliveries))
    steps: list[list[pb.UsageEvent] | str] = []
    while shuffled:
        size = draw(st.integers(1, 10))
        steps.append(shuffled[:size])
        shuffled = shuffled[size:]
        steps += draw(st.lists(st.sampled_from([REOPEN, SWEEP]), max_size=2))
    return drawn, steps


async def play(steps: list[list[pb.UsageEvent] | str], reopen: Callable[[], LedgerStore]) -> LedgerStore:
    store = reopen()
    for step in steps:
        if step == REOPEN:
            await store.close()
            store = reopen()
        elif step == SWEEP:
            await store.expire(await store.producers(), expired, 100)
        else:
            await Ledger(store).record(
                "shipper", [event for event in step if isinstance(event, pb.UsageEvent)]
            )
    return store


async def judge(drawn: list[Life], store: LedgerStore, *, swept: bool) -> None:
    rows = [row for n in range(3) for row in await store.records(f"acct_{n}", None, 1000)]
    assert len({row.call.call_id for row in rows}) == len(rows)
    booked = {row.call.call_id: (row.quantities.output_tokens, row.cost_nano_usd) for row in rows}
    expected = model(drawn)
    assert {call_id: booked.get(call_id) for call_id in expected} == expected
    if not swept:
        assert booked.keys() == expected.keys()
        unended = {life.call_id: 32 * life.checkpoints for life in drawn if life.output is None}
        found = {each.call.call_id: each.progress.output_tokens for each in await store.open_calls()}
        assert found == unended
    assert await store.dead_letters() == []
    # The daily sums say what the rows say.
    for n in range(3):
        mine = [row for row in rows if row.call.account_id == f"acct_{n}"]
        for name, usage in (await store.usage(f"acct_{n}", START - DAY_MS, START + 9 * DAY_MS)).items():
            total = Usage(0, Quantities(), 0)
            for row in mine:
                if row.call.requested_model == name:
                    total += Usage(1, row.quantities, row.cost_nano_usd)
            assert usage == total


def run(drawn: list[Life], steps: list[list[pb.UsageEvent] | str], backend: str) -> None:
    async def check(reopen: Callable[[], LedgerStore]) -> None:
        store = await play(steps, reopen)
        try:
            await judge(drawn, store, swept=SWEEP in steps)
        finally:
            await store.close()

    if backend == "memory":
        kept = MemoryLedgerStore()
        asyncio.run(check(lambda: kept))
        return
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(check(lambda: SqlLedgerStore.open(Path(folder) / "ledger.sqlite3")))
        return
    asyncio.run(check(lambda: SqlLedgerStore.open(backend)))
    with psycopg.connect(backend) as connection:
        connection.execute("SET search_path = metering")
        connection.execute(f"TRUNCATE {', '.join(METADATA.tables)}")


@settings(max_examples=300, deadline=None)
@given(histories())
def test_the_ledger_in_memory_follows_the_model(
    history: tuple[list[Life], list[list[pb.UsageEvent] | str]],
) -> None:
    run(*history, "memory")


@settings(max_examples=40, deadline=None)
@given(histories())
def test_the_ledger_in_sqlite_follows_the_model_over_reopenings(
    history: tuple[list[Life], list[list[pb.UsageEvent] | str]],
) -> None:
    run(*history, "sqlite")


@pytest.mark.servers
def test_the_ledger_in_postgresql_follows_the_model_over_reopenings() -> None:
    with throw_away_database() as url:

        @settings(max_examples=10, deadline=None)
        @given(histories())
        def check(history: tuple[list[Life], list[list[pb.UsageEvent] | str]]) -> None:
            run(*history, url)

        check()
