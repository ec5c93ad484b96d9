"""Leases in Redis, shared by the replicas of metering: one key for each bucket, changed by compare-and-set.

Redis holds no money here, only how full buckets are; the ledger never depends on it. What becomes of limits without
it (reliability.md, section 2): while it is away holders spend what they have leased and then their fair share. If
the keys are lost (a flush, a fail-over to a replica that was behind, eviction), each bucket starts full again: within
one window a limit may then be admitted twice, never more. Keys end on their own when their bucket is full."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import TypeVar

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from headgate_clock import Clock
from headgate_database import StoreAwayError, StoreError
from headgate_leases.bucket import Level
from headgate_metering.breaker import Breaker
from headgate_metering.buckets import Bucket, Lease
from headgate_metering.steady_time import SteadyTime
from headgate_settings import Secret

log = structlog.get_logger()

T = TypeVar("T")

TIMEOUT_S = 0.05

# The braces keep all keys in one slot of a cluster, so that one script may change several.
_PREFIX = "headgate:{leases}:"
# Beyond `keep_until_ms`: a key may end late, never early.
_KEEP_MS = 1_000

# ARGV holds three values for each key: what was read ("" for nothing), what to store, milliseconds to keep it.
_COMPARE_AND_SET = """
for i, key in ipairs(KEYS) do
  if (redis.call('GET', key) or '') ~= ARGV[3 * i - 2] then return 0 end
end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[3 * i - 1], 'PX', ARGV[3 * i])
end
return 1
"""


class RedisLeaseStore:
    """Buckets in Redis. Time is that of its machine unless a `time` is given; `timeout_s` is for each answer."""

    def __init__(
        self,
        client: Redis,
        clock: Clock,
        *,
        time: SteadyTime | None = None,
        prefix: str = _PREFIX,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._time = time
        self._prefix = prefix
        self._swap = client.register_script(_COMPARE_AND_SET)
        self._breaker = Breaker(clock)
        # One at a time: a process is never in its own way.
        self._turn = asyncio.Lock()

    @classmethod
    def open(cls, url: Secret, clock: Clock) -> "RedisLeaseStore":
        """A store at a URL `redis://…`; it is connected to at the first use. Raises StoreError for another URL."""
        try:
            client = Redis.from_url(
                url.reveal(),
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                # Whoever asked has its own answer to a store that fails, and it is faster than a second try.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            # Without the cause: its message may quote the URL, with its password.
            raise StoreError("The URL of the lease store is not one of Redis.") from None
        return cls(client, clock)

    async def update(
        self, bucket_ids: Collection[str], change: Callable[[MutableMapping[str, Bucket], int], T]
    ) -> T:
        """See LeaseStore."""
        async with self._turn:
            return await self._asked(lambda: self._update(list(bucket_ids), change))

    async def forget(self) -> int:
        """See LeaseStore. Keys end on their own, so there is nothing to drop."""
        return 0

    async def count(self) -> int:
        """See LeaseStore."""
        return await self._asked(self._count)

    async def close(self) -> None:
        """See LeaseStore."""
        await self._client.aclose()

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        if not self._breaker.allows():
            raise StoreAwayError
        try:
            answer = await work()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            raise StoreAwayError from error
        if self._breaker.open:
            log.info("lease store there")
        self._breaker.succeeded()
        return answer

    def _failed(self, error: Exception) -> None:
        was_open = self._breaker.open
        self._breaker.failed()
        if self._breaker.open and not was_open:
            log.warning("lease store away", error=str(error) or type(error).__name__)

    async def _update(
        self, bucket_ids: Sequence[str], change: Callable[[MutableMapping[str, Bucket], int], T]
    ) -> T:
        keys = [self._prefix + each for each in bucket_ids]
        while True:
            found, now_ms = await self._read(keys)
            before = dict(zip(bucket_ids, found, strict=True))
            buckets = {each: _bucket(value) for each, value in before.items() if value}
            result = change(buckets, now_ms)
            after = {each: _value(bucket) for each, bucket in buckets.items()}
            changed = [each for each, value in after.items() if value != before[each]]
            # If another replica was faster, its state gives another answer.
            if not changed or await self._swapped(
                [self._prefix + each for each in changed],
                [(before[each], after[each], _keep_ms(buckets[each], now_ms)) for each in changed],
            ):
                return result

    async def _swapped(self, keys: Sequence[str], values: Sequence[tuple[bytes, bytes, int]]) -> bool:
        async with asyncio.timeout(self._timeout_s):
            return bool(await self._swap(keys=keys, args=[each for three in values for each in three]))

    async def _read(self, keys: Sequence[str]) -> tuple[list[bytes], int]:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.mget(keys)
            async with asyncio.timeout(self._timeout_s):
                (seconds, micros), values = await pipe.execute()
        now_ms = self._time.now_ms() if self._time else seconds * 1000 + micros // 1000
        return [value or b"" for value in values], now_ms

    async def _count(self) -> int:
        found = 0
        async for _ in self._client.scan_iter(match=self._prefix + "*", count=1000):
            found += 1
        return found


def _bucket(value: bytes) -> Bucket:
    missing, at_ms, fencing, keep_until_ms, leases = orjson.loads(value)
    return Bucket(Level(missing, at_ms), fencing, tuple(Lease(*each) for each in leases), keep_until_ms)


def _value(bucket: Bucket) -> bytes:
    leases = [[each.holder_id, each.units, each.expires_at_ms] for each in bucket.leases]
    return orjson.dumps(
        [bucket.level.missing, bucket.level.at_ms, bucket.fencing, bucket.keep_until_ms, leases]
    )


def _keep_ms(bucket: Bucket, now_ms: int) -> int:
    return max(bucket.keep_until_ms - now_ms, 0) + _KEEP_MS
