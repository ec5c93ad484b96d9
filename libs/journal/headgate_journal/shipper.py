"""Brings journalled events to metering: in order, in batches, one in flight, again and again while metering is
away. Only what is on the disk is sent, so that no number metering has seen is ever given to another event. From
memory while it keeps up, from the files when it has fallen behind."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from headgate.metering.v1.metering_pb2 import (
    EVENT_KIND_CHECKPOINT,
    EVENT_KIND_INTENT,
    EVENT_KIND_SETTLE,
    RecordUsageRequest,
)
from headgate_clock import Clock
from headgate_journal.errors import JournalBroken
from headgate_journal.journal import Journal
from headgate_journal.written import Written, written
from headgate_rpc.errors import HeadgateError

Send = Callable[[RecordUsageRequest], Awaitable[None]]

_PASSING = frozenset((EVENT_KIND_INTENT, EVENT_KIND_CHECKPOINT))


@dataclass(frozen=True, slots=True)
class ShipperLimits:
    """Seconds, and numbers of events. While calls run, an empty batch goes out after `heartbeat_s` without
    events, or metering would take the process for dead. Retries wait between half and the whole of a time that
    doubles from `backoff_s` to `backoff_most_s`."""

    batch: int = 1000
    interval_s: float = 0.02
    memory: int = 20_000
    send_timeout_s: float = 10.0
    heartbeat_s: float = 15.0
    backoff_s: float = 0.1
    backoff_most_s: float = 5.0


class Shipper:
    """One for each journal; `run` is its task. `failures` counts sendings that had to be repeated,
    `last_error` says why the last one."""

    def __init__(
        self, journal: Journal, send: Send, clock: Clock, limits: ShipperLimits | None = None
    ) -> None:
        self._journal = journal
        self._send = send
        self._clock = clock
        self._limits = limits or ShipperLimits()
        self._recent: deque[Written] = deque()
        self._batch: list[Written] = []
        self._next_seq = journal.acked_seq + 1
        self._files: Iterator[Written] | None = None
        self._work = asyncio.Event()
        self._flushing: list[tuple[int, asyncio.Future[None]]] = []
        self.failures = 0
        self.last_error = ""
        journal.on_append = self._appended
        if self.lag_events:
            self._work.set()

    @property
    def lag_events(self) -> int:
        """Events that metering does not have yet."""
        return self._journal.last_seq - self._journal.acked_seq

    @property
    def oldest_unsent_age(self) -> float:
        """Seconds since the oldest event was written that metering does not have yet; 0 when it has all. Not
        known (0) for events of an earlier process until they have been read."""
        oldest = next(iter(self._batch or self._recent), None)
        return max(0.0, (self._clock.wall_ms() - oldest.time_ms) / 1000) if oldest is not None else 0.0

    async def run(self) -> None:
        """Ship until cancelled."""
        while True:
            await self._wait_for_work()
            while self.lag_events:
                # First the wait, so that most calls are settled in the batch that would hold their intent.
                await asyncio.sleep(self._limits.interval_s)
                await self._ship_batch()

    async def flush(self) -> None:
        """Return when metering has everything written before the call."""
        upto = self._journal.last_seq
        if self._journal.acked_seq >= upto:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushing.append((upto, future))
        await future

    async def close(self, bound_s: float = 5.0) -> None:
        """Flush for at most `bound_s` seconds; what is left is sent after the next start. `run` must be running
        and is cancelled by whoever started it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                await self.flush()

    def _appended(self, event: Written) -> None:
        # Memory holds the newest unbroken run of events; what lies before it is read from the files.
        if len(self._recent) >= self._limits.memory:
            self._recent.clear()
        self._recent.append(event)
        if not self._work.is_set():
            self._work.set()

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(self._limits.heartbeat_s):
                await self._work.wait()
        except TimeoutError:
            if self._journal.open_calls:
                await self._deliver([])
        self._work.clear()

    async def _ship_batch(self) -> None:
        upto = await self._on_disk()
        self._batch = await self._next_batch(upto)
        if not self._batch:
            # What stood there can no longer be read; the journal has counted it as a fault.
            self._acked(self._before_memory(upto))
            return
        last_seq = self._batch[-1].seq
        await self._deliver(without_settled(self._batch))
        self._acked(last_seq)

    async def _on_disk(self) -> int:
        """The last number that may be sent. Waits, which makes the journal sync at once, only while there is
        nothing to send."""
        try:
            await self._journal.synced(self._next_seq)
        except JournalBroken:  # then metering is the only place left where they can be kept
            return self._journal.last_seq
        return self._journal.synced_seq

    def _acked(self, seq: int) -> None:
        self._batch = []
        self._next_seq = seq + 1
        self._journal.ack(seq)
        done = [future for upto, future in self._flushing if upto <= seq]
        self._flushing = [(upto, future) for upto, future in self._flushing if upto > seq]
        for future in done:
            if not future.done():
                future.set_result(None)

    async def _next_batch(self, upto: int) -> list[Written]:
        recent = self._recent
        while recent and recent[0].seq < self._next_seq:
            recent.popleft()
        if recent and recent[0].seq == self._next_seq:
            self._files = None
            return [recent.popleft() for _ in range(min(upto + 1 - self._next_seq, self._limits.batch))]
        return await self._from_files(min(self._limits.batch, self._before_memory(upto) + 1 - self._next_seq))

    async def _from_files(self, count: int) -> list[Written]:
        if self._files is None:
            self._files = map(written, self._journal.read(self._next_seq))
        # Off the loop: parsing a thousand records would stop it for milliseconds.
        batch = await asyncio.to_thread(_first, self._files, count)
        if len(batch) < count:
            self._files = None
        return batch

    def _before_memory(self, upto: int) -> int:
        return min(upto, self._recent[0].seq - 1) if self._recent else upto

    async def _deliver(self, events: list[Written]) -> None:
        request = RecordUsageRequest(producer_id=self._journal.producer_id)
        for event in events:
            request.events.add().MergeFromString(event.payload)
        wait_s = self._limits.backoff_s
        while True:
            try:
                # Not wait_for, which in Python 3.11 can swallow a cancellation.
                async with asyncio.timeout(self._limits.send_timeout_s):
                    await self._send(request)
                return
            except (HeadgateError, TimeoutError, OSError) as error:
                self.failures += 1
                self.last_error = str(error) or type(error).__name__
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, self._limits.backoff_most_s)


def without_settled(events: Sequence[Written]) -> list[Written]:
    """Leave out what a settle in the same batch makes needless: its intent and checkpoints."""
    settled = {event.call_id for event in events if event.kind == EVENT_KIND_SETTLE}
    return [event for event in events if event.kind not in _PASSING or event.call_id not in settled]


def _first(events: Iterator[Written], count: int) -> list[Written]:
    return list(islice(events, count))
