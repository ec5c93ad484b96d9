"""The holder's side of leases: a call spends what its process holds with a local decrement, and waits for
metering only when that is not enough."""

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice

from headgate.metering.v1.metering_pb2 import AcquireLeasesRequest, AcquireLeasesResponse
from headgate_clock import Clock
from headgate_leases.bucket import TokenBucket
from headgate_leases.holding import Asked, Holding, Verdict, Waiter
from headgate_leases.refusal import BucketState, Refusal
from headgate_rpc.errors import HeadgateError

Acquire = Callable[[AcquireLeasesRequest], Awaitable[AcquireLeasesResponse]]

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class HolderLimits:
    """Times in seconds. A call waits at most `wait_s` for metering; an ask fails after `ask_timeout_s`; while
    metering is away it is asked again after half to the whole of a time that doubles up to `backoff_most_s`."""

    wait_s: float = 0.05
    ask_timeout_s: float = 1.0
    backoff_s: float = 0.1
    backoff_most_s: float = 1.0
    sweep_s: float = 1.0
    max_buckets: int = 100_000


class LeaseHolder:
    """All buckets of one process, on one loop. `waits` counts calls that waited for metering, `fair_shares`
    those that were admitted without it."""

    def __init__(
        self, holder_id: str, acquire: Acquire, clock: Clock, limits: HolderLimits | None = None
    ) -> None:
        self._holder_id = holder_id
        self._acquire = acquire
        self._clock = clock
        self._limits = limits or HolderLimits()
        self._holdings: dict[str, Holding] = {}
        self._pending: dict[Holding, None] = {}
        self._expiries: deque[tuple[float, Holding]] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._away = False
        self._closing = False
        self.waits = 0
        self.fair_shares = 0

    @property
    def away(self) -> bool:
        """Whether metering does not answer at present."""
        return self._away

    @property
    def buckets(self) -> int:
        """Buckets remembered."""
        return len(self._holdings)

    def take(self, bucket_id: str, units: int = 1) -> BucketState | None:
        """Spend units held here, without waiting, and say how the bucket stands then. None means: `await acquire`."""
        holding = self._holdings.get(bucket_id)
        if holding is None or holding.units < units or self._clock.monotonic() >= holding.expires:
            return None
        holding.units -= units
        holding.spent += units
        if holding.units < holding.low:
            self._queue(holding)
        return holding.state()

    async def acquire(self, bucket_id: str, units: int, figures: TokenBucket) -> Refusal | None:
        """Spend units, asking metering where need be; None means they are spent. `figures` are the policy's: the
        bucket's capacity and its units per minute."""
        if self.take(bucket_id, units):
            return None
        holding = self._holding(bucket_id)
        holding.figures = figures
        if units > figures.capacity:
            return _never(holding, units, figures)
        now = self._clock.monotonic()
        if now < holding.refused_until:
            return _refusal(holding, units, figures, now)
        verdict = Verdict.AWAY if self._away else await self._wait(holding, units)
        if verdict is Verdict.GRANTED:
            return None
        if verdict is Verdict.REFUSED:
            return _refusal(holding, units, figures, self._clock.monotonic())
        return self._without_metering(holding, units, figures)

    def adjust(self, bucket_id: str, units: int) -> None:
        """Correct what a call took: `units` more were spent (or, below 0, fewer). What is not held becomes a debt,
        reported at once."""
        holding = self._holding(bucket_id)
        holding.units -= units
        holding.spent += units
        if holding.units < 0 or self._clock.monotonic() >= holding.expires:
            self._queue(holding)

    def state(self, bucket_id: str) -> BucketState | None:
        """The figures for the limit headers; None for a bucket not seen yet."""
        holding = self._holdings.get(bucket_id)
        return holding.state() if holding is not None else None

    async def run(self) -> None:
        """Give back expired units and report idle buckets, until cancelled."""
        while True:
            await asyncio.sleep(self._limits.sweep_s)
            self.sweep()

    def sweep(self) -> None:
        """Queue the report of every lease that has expired."""
        now = self._clock.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            _, holding = self._expiries.popleft()
            if holding.expires <= now and (holding.units or holding.spent or holding.returned):
                self._queue(holding)

    async def close(self) -> None:
        """Give everything back, waiting no longer than one ask may take."""
        self._closing = True
        for holding in self._holdings.values():
            holding.expires = 0.0
            self._queue(holding)
        if self._asking is not None:
            if not self._away:
                await asyncio.wait([self._asking], timeout=self._limits.ask_timeout_s)
            self._asking.cancel()

    def _holding(self, bucket_id: str) -> Holding:
        holding = self._holdings.get(bucket_id)
        if holding is None:
            if len(self._holdings) >= self._limits.max_buckets:
                self._forget_idlest()
            holding = self._holdings[bucket_id] = Holding(bucket_id)
        return holding

    def _forget_idlest(self) -> None:
        # The order is that of the last grant.
        idlest = self._holdings.pop(next(iter(self._holdings)))
        idlest.expires = 0.0
        self._queue(idlest)

    async def _wait(self, holding: Holding, units: int) -> Verdict:
        self.waits += 1
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        holding.waiters.append(Waiter(units, verdict))
        self._queue(holding)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                return await verdict
        except TimeoutError:
            # Nobody else waits until metering has answered again.
            self._away = True
            return Verdict.AWAY
        except asyncio.CancelledError:
            if verdict.done() and not verdict.cancelled() and verdict.result() is Verdict.GRANTED:
                self.adjust(holding.bucket_id, -units)
            raise

    def _without_metering(self, holding: Holding, units: int, figures: TokenBucket) -> Refusal | None:
        self._queue(holding)
        wait_ms = holding.take_fair_share(units, figures, self._clock.monotonic())
        if wait_ms:
            return Refusal(holding.bucket_id, units, holding.state(), wait_ms, known=False)
        self.fair_shares += 1
        return None

    def _queue(self, holding: Holding) -> None:
        self._pending[holding] = None
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_all(), name="leases")

    async def _ask_all(self) -> None:
        wait_s = self._limits.backoff_s
        while self._pending:
            await self._ask_batch()
            if not self._away:
                wait_s = self._limits.backoff_s
            elif self._closing:
                return
            elif self._pending:
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
                wait_s = min(2 * wait_s, self._limits.backoff_most_s)

    async def _ask_batch(self) -> None:
        holdings = list(islice(self._pending, _BATCH))
        for holding in holdings:
            del self._pending[holding]
        now = self._clock.monotonic()
        asked = [ask for holding in holdings if (ask := holding.ask(now, probe=self._away)) is not None]
        if not asked:
            return
        request = AcquireLeasesRequest(holder_id=self._holder_id, asks=[one.ask for one in asked])
        try:
            # Not wait_for, which in Python 3.11 can swallow a cancellation.
            async with asyncio.timeout(self._limits.ask_timeout_s):
                response = await self._acquire(request)
        except (HeadgateError, TimeoutError, OSError):
            self._failed(asked)
        else:
            self._granted(asked, response)

    def _granted(self, asked: list[Asked], response: AcquireLeasesResponse) -> None:
        self._away = False
        now = self._clock.monotonic()
        for one, grant in zip(asked, response.grants, strict=True):
            holding = one.holding
            holding.granted(one, grant, now)
            if grant.units:
                self._expiries.append((holding.expires, holding))
            if holding.waiters or holding.returned:
                self._pending[holding] = None
            if self._holdings.get(holding.bucket_id) is holding:
                self._holdings[holding.bucket_id] = self._holdings.pop(holding.bucket_id)

    def _failed(self, asked: list[Asked]) -> None:
        self._away = True
        for one in asked:
            one.holding.failed(one)
            self._pending[one.holding] = None


def _refusal(holding: Holding, units: int, figures: TokenBucket, now: float) -> Refusal:
    # Metering says when one more unit is there; the others follow at the bucket's pace.
    others = max(0, units - holding.units - 1)
    wait_ms = math.ceil((holding.refused_until - now) * 1000) + -(-others * 60_000 // figures.per_minute)
    return Refusal(holding.bucket_id, units, holding.state(), max(1, wait_ms))


def _never(holding: Holding, units: int, figures: TokenBucket) -> Refusal:
    wait_ms = figures.capacity * 60_000 // figures.per_minute
    return Refusal(holding.bucket_id, units, holding.state(), max(1, wait_ms), never_fits=True)
