"""A follower has what the source has: at the start, after each change, after a cut, after silence."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headgate.routing.v1.routing_pb2 import Route, WatchRoutesResponse
from headgate.watch.v1.watch_pb2 import Position
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import Update, Watcher, WatchSource


class Line:
    """A stream that can be cut."""

    def __init__(self, messages: AsyncIterator[WatchRoutesResponse]) -> None:
        self.metadata: dict[str, str] = {}
        self._messages = messages
        self.cut = False

    def __aiter__(self) -> AsyncIterator[WatchRoutesResponse]:
        return self

    async def __anext__(self) -> WatchRoutesResponse:
        message = await anext(self._messages)
        if self.cut:
            raise HeadgateError(Reason.SERVICE_UNAVAILABLE, "cut")
        return message

    async def aclose(self) -> None:
        await self._messages.aclose()  # type: ignore[attr-defined]


class Follower:
    def __init__(self, source: WatchSource[Route]) -> None:
        self.source = source
        self.updates: list[Update[Route]] = []
        self.lines: list[Line] = []
        self.positions: list[Position] = []
        self.changed = asyncio.Event()
        self.watcher: Watcher[Route] = Watcher(
            "routes", self.open, lambda route: route.name, self.learn, silence_s=0.5, retry_s=0.001
        )
        self.task = asyncio.create_task(self.watcher.run())

    async def open(self, position: Position) -> Line:
        self.positions.append(Position(epoch=position.epoch, version=position.version))
        line = Line(self.source.follow(position, WatchRoutesResponse))
        self.lines.append(line)
        return line

    def learn(self, update: Update[Route]) -> None:
        self.updates.append(update)
        self.changed.set()

    async def until_equal(self) -> None:
        async with asyncio.timeout(5):
            while dict(self.watcher.items) != dict(self.source.items):
                self.changed.clear()
                await self.changed.wait()


def routes(*names: str) -> dict[str, Route]:
    return {name: Route(name=name) for name in names}


@pytest.fixture
async def source() -> WatchSource[Route]:
    return WatchSource(heartbeat_s=0.05)


async def test_a_follower_gets_the_whole_state_first(source: WatchSource[Route]) -> None:
    source.replace(routes("a", "b"))
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    assert follower.watcher.items == routes("a", "b")
    assert follower.updates[0].restarted
    follower.task.cancel()


async def test_an_empty_state_is_a_state(source: WatchSource[Route]) -> None:
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    assert follower.watcher.items == {}
    follower.task.cancel()


async def test_changes_arrive_as_deltas(source: WatchSource[Route]) -> None:
    source.replace(routes("a", "b"))
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    source.replace(routes("b", "c"))
    await follower.until_equal()
    assert [u.name for u in follower.updates[-1].upserts] == ["c"]
    assert follower.updates[-1].deletes == ("a",)
    assert not follower.updates[-1].restarted
    follower.task.cancel()


async def test_nothing_is_announced_when_nothing_changed(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    version = source.version
    source.replace(routes("a"))
    assert source.version == version


async def test_a_cut_follower_resumes_where_it_was(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    follower.lines[0].cut = True
    source.publish(routes("b"))
    await follower.until_equal()
    assert follower.positions[1].epoch == source.epoch
    assert not follower.updates[-1].restarted
    follower.task.cancel()


async def test_a_follower_of_another_life_starts_again(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    messages = source.follow(Position(epoch="another", version=99), WatchRoutesResponse)
    first = await anext(messages)
    assert first.WhichOneof("body") == "part" and first.part.last
    await messages.aclose()  # type: ignore[attr-defined]


async def test_a_follower_that_missed_more_than_the_ring_starts_again(source: WatchSource[Route]) -> None:
    behind = source.position
    for number in range(10_001):
        source.publish(routes(str(number % 3)))
    first = await anext(source.follow(behind, WatchRoutesResponse))
    assert first.WhichOneof("body") == "part"


async def test_large_state_comes_in_parts_of_at_most_a_mebibyte(source: WatchSource[Route]) -> None:
    source.replace({str(n): Route(name=str(n), fallbacks=["x" * 100_000]) for n in range(30)})
    messages = source.follow(Position(), WatchRoutesResponse)
    sizes, names, last = [], [], False
    while not last:
        part = (await anext(messages)).part
        sizes.append(part.ByteSize())
        names += [route.name for route in part.items]
        last = part.last
    assert len(sizes) > 1 and max(sizes) <= 1024 * 1024 + 100
    assert sorted(names) == sorted(str(n) for n in range(30))


async def test_silence_makes_a_follower_start_again(source: WatchSource[Route]) -> None:
    silent: WatchSource[Route] = WatchSource(heartbeat_s=60)
    follower = Follower(silent)
    async with asyncio.timeout(5):
        while len(follower.lines) < 2:
            await asyncio.sleep(0)
    follower.task.cancel()


async def test_a_delete_may_name_what_was_never_an_item(source: WatchSource[Route]) -> None:
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    follower.changed.clear()
    source.publish({}, ["principal/key_1"])
    await asyncio.wait_for(follower.changed.wait(), 5)
    assert follower.updates[-1].deletes == ("principal/key_1",)
    follower.task.cancel()
