"""Every test of the HTTP client runs on both event loops; with `transport` none takes long, and none leaves an exception
to the loop."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from headgate_clock import SystemClock
from headgate_inference.adapters.http_client import HttpTransport


@pytest.fixture(
    params=[asyncio.DefaultEventLoopPolicy(), uvloop.EventLoopPolicy()],
    ids=["asyncio", "uvloop"],
    scope="module",
)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    policy: asyncio.AbstractEventLoopPolicy = request.param
    return policy


def end_everything() -> None:
    """A test that waits for what never comes fails."""
    for task in asyncio.all_tasks():
        task.cancel()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """No test takes long, and none leaves an exception to the loop."""
    stray: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
    made = HttpTransport(SystemClock())
    late = asyncio.get_running_loop().call_later(20, end_everything)
    yield made
    await made.close()
    late.cancel()
    assert stray == []
