"""Keys of a test's own on a Redis server."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from headgate_settings import environment

DEFAULT_SERVER = "redis://127.0.0.1:6379/0"


def redis_server() -> str:
    """The server that tests use, HEADGATE_TEST_REDIS."""
    return environment().get("HEADGATE_TEST_REDIS") or DEFAULT_SERVER


@asynccontextmanager
async def throw_away_keys() -> AsyncIterator[str]:
    """A prefix that nobody else uses; whatever stands under it is deleted afterwards."""
    prefix = f"headgate-test-{secrets.token_hex(6)}:"
    client = Redis.from_url(redis_server())
    try:
        yield prefix
        async for key in client.scan_iter(match=prefix + "*", count=1000):
            await client.delete(key)
    finally:
        await client.aclose()
