"""A follower has what the source has: at the start, after each change, after a cut, after silence."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headgate.inference.v1 import inference_pb2
from headgate.routing.v1 import routing_pb2
from headgate.routing.v1.routing_pb2 import Route, WatchRoutesResponse
from headgate.watch.v1.watch_pb2 import Position
from headgate_rpc.call import methods_of
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource, ended_by, is_watch
from headgate_rpc.watch_gauges import watch_gauges
from headgate_rpc.watcher import OpenStream, Update, Watcher
from headgate_telemetry.exposition import Exposition
from headgate_telemetry.metrics import Metrics
from headgate_testing.clock import FakeClock


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


def line_to(source: WatchSource[Route]) -> OpenStream:
    async def open_line(position: Position) -> Line:
        return Line(source.follow(position, WatchRoutesResponse))

    return open_line


def routes(*names: str) -> dict[str, Route]:
    return {name: Route(name=name) for name in names}


@pytest.fixture
async def source() -> WatchSource[Route]:
    return WatchSource(heartbeat_s=0.05)


async def next_of(messages: AsyncIterator[WatchRoutesResponse]) -> WatchRoutesResponse:
    return await asyncio.wait_for(anext(messages), 5)


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


async def test_what_is_missed_by_a_cut_is_made_up_for_in_order(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    follower.lines[0].cut = True
    source.publish(routes("b"))
    source.publish(routes("c"), ["a"])
    source.publish({}, ["b"])
    await follower.until_equal()
    assert follower.watcher.items == routes("c")
    assert follower.watcher.position == source.position
    assert [update.restarted for update in follower.updates] == [True, False, False, False]
    follower.task.cancel()


async def test_parts_are_a_state_only_together_and_only_those_of_one_stream() -> None:
    def part(name: str, *, last: bool) -> WatchRoutesResponse:
        message = WatchRoutesResponse(position=Position(epoch="e", version=3))
        message.part.items.append(Route(name=name))
        message.part.last = last
        return message

    async def stream(*messages: WatchRoutesResponse) -> AsyncIterator[WatchRoutesResponse]:
        for message in messages:
            yield message

    lines = [
        Line(stream(part("gone", last=False))),  # ends in the middle
        Line(stream(part("a", last=False), part("b", last=True))),
    ]
    asked: list[Position] = []
    updates: list[Update[Route]] = []

    async def open_next(position: Position) -> Line:
        asked.append(position)
        if not lines:
            await asyncio.Event().wait()
        return lines.pop(0)

    watcher: Watcher[Route] = Watcher(
        "routes", open_next, lambda route: route.name, updates.append, retry_s=0.001
    )
    task = asyncio.create_task(watcher.run())
    await asyncio.wait_for(watcher.ready.wait(), 5)
    assert [dict(update.items) for update in updates] == [routes("a", "b")]
    assert asked[1] == Position(), "what came of a state that was cut is no place to resume at"
    task.cancel()


async def test_who_was_told_a_state_keeps_it_as_it_was(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    source.replace(routes("b"))
    await follower.until_equal()
    assert [dict(update.items) for update in follower.updates] == [routes("a"), routes("b")]
    follower.task.cancel()


async def test_a_follower_of_another_life_starts_again(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    messages = source.follow(Position(epoch="another", version=99), WatchRoutesResponse)
    first = await next_of(messages)
    assert first.WhichOneof("body") == "part" and first.part.last
    await messages.aclose()  # type: ignore[attr-defined]


async def test_a_follower_that_missed_more_than_the_ring_starts_again(source: WatchSource[Route]) -> None:
    behind = source.position
    for number in range(10_001):
        source.publish(routes(str(number % 3)))
    first = await next_of(source.follow(behind, WatchRoutesResponse))
    assert first.WhichOneof("body") == "part"


async def test_large_state_comes_in_parts_of_at_most_a_mebibyte(source: WatchSource[Route]) -> None:
    source.replace({str(n): Route(name=str(n), fallbacks=["x" * 100_000]) for n in range(30)})
    messages = source.follow(Position(), WatchRoutesResponse)
    sizes, names, last = [], [], False
    while not last:
        part = (await next_of(messages)).part
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


async def test_an_opening_that_never_answers_is_silence_too(source: WatchSource[Route]) -> None:
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    opened = asyncio.Event()

    async def hang(position: Position) -> Line:
        if opened.is_set():
            return Line(source.follow(position, WatchRoutesResponse))
        opened.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]

    stuck: Watcher[Route] = Watcher(
        "routes", hang, lambda route: route.name, lambda update: None, silence_s=0.05, retry_s=0.001
    )
    task = asyncio.create_task(stuck.run())
    await asyncio.wait_for(stuck.ready.wait(), 5)
    assert opened.is_set()
    task.cancel()
    follower.task.cancel()


async def test_the_pause_before_a_new_try_does_not_grow_for_ever(source: WatchSource[Route]) -> None:
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    for number in range(3):
        follower.lines[-1].cut = True
        source.publish(routes(str(number)))
        await follower.until_equal()
        assert follower.watcher._failures == 0
        assert follower.watcher.connected
    follower.task.cancel()


async def test_followers_do_not_come_back_together(source: WatchSource[Route]) -> None:
    watcher: Watcher[Route] = Watcher("routes", line_to(source), lambda r: r.name, lambda update: None)
    pauses = sorted(watcher.pause_s() for _ in range(100))
    assert 0.1 <= pauses[0] < 0.15 < 0.25 < pauses[-1] <= 0.3


async def test_a_follower_that_is_ahead_of_a_replica_does_not_go_back(source: WatchSource[Route]) -> None:
    source.replace(routes("a"))
    ahead = Position(epoch=source.epoch, version=source.version + 1)
    messages = source.follow(ahead, WatchRoutesResponse)
    first = await next_of(messages)
    assert first.WhichOneof("body") == "heartbeat"
    source.publish(routes("b"))  # which it knows
    source.publish(routes("c"))
    second = await next_of(messages)
    assert [route.name for route in second.delta.upserts] == ["c"]


async def test_what_a_follower_has_seen_is_not_applied_again(source: WatchSource[Route]) -> None:
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    source.publish(routes("a"))
    await follower.until_equal()
    updates = len(follower.updates)
    again = WatchRoutesResponse(position=source.position)
    again.delta.deletes.append("a")
    follower.watcher._take(again)
    assert (len(follower.updates), set(follower.watcher.items)) == (updates, {"a"})
    follower.task.cancel()


async def test_a_change_too_large_for_a_message_comes_in_parts(source: WatchSource[Route]) -> None:
    messages = source.follow(source.position, WatchRoutesResponse)
    assert (await next_of(messages)).WhichOneof("body") == "heartbeat"
    source.replace({str(n): Route(name=str(n), fallbacks=["x" * 100_000]) for n in range(30)})
    kinds, last = [], False
    while not last:
        message = await next_of(messages)
        kinds.append(message.WhichOneof("body"))
        assert message.ByteSize() <= 1024 * 1024 + 100
        last = message.part.last
    assert set(kinds) == {"part"}
    source.publish(routes("a"))
    assert (await next_of(messages)).WhichOneof("body") == "delta"


async def test_a_reader_slower_than_the_ring_gets_everything_again(source: WatchSource[Route]) -> None:
    messages = source.follow(source.position, WatchRoutesResponse)
    await next_of(messages)
    for number in range(10_001):
        source.publish(routes(str(number % 3)))
    assert (await next_of(messages)).WhichOneof("body") == "part"


async def test_followers_move_between_replicas_and_end_where_they_are(source: WatchSource[Route]) -> None:
    other: WatchSource[Route] = WatchSource(heartbeat_s=0.05)
    source.replace(routes("a"))
    other.replace(routes("a", "b"))
    follower = Follower(source)
    await asyncio.wait_for(follower.watcher.ready.wait(), 5)
    for replica in (other, source, other):
        line = follower.lines[-1]
        follower.source = replica
        line.cut = True
        await follower.until_equal()
        assert follower.updates[-1].restarted
        assert follower.watcher.position.epoch == replica.epoch
    follower.task.cancel()


async def test_a_watch_ends_when_its_server_leaves_also_between_two_messages(
    source: WatchSource[Route],
) -> None:
    leaving = asyncio.Event()
    messages = ended_by(leaving, source.follow(source.position, WatchRoutesResponse))
    await next_of(messages)
    waiting = asyncio.ensure_future(anext(messages))
    leaving.set()
    with pytest.raises(HeadgateError) as gone:
        await asyncio.wait_for(waiting, 5)
    assert gone.value.reason is Reason.SERVICE_UNAVAILABLE


def test_watches_are_known_by_their_contract() -> None:
    inference = methods_of(inference_pb2.DESCRIPTOR.services_by_name["InferenceService"])
    routing = methods_of(routing_pb2.DESCRIPTOR.services_by_name["RoutingService"])
    assert is_watch(routing["WatchRoutes"])
    assert not is_watch(inference["StreamGenerate"])
    assert not is_watch(inference["Generate"])


async def test_operators_see_how_old_each_watch_is(source: WatchSource[Route]) -> None:
    clock, metrics = FakeClock(), Metrics()
    names = ("routes", "catalogue")
    watchers: list[Watcher[Route]] = [
        Watcher(name, line_to(source), lambda route: route.name, lambda update: None, clock=clock)
        for name in names
    ]
    watch_gauges(metrics, watchers)
    clock.advance(3)
    task = asyncio.create_task(watchers[0].run())
    await asyncio.wait_for(watchers[0].ready.wait(), 5)
    assert (watchers[0].age_seconds(), watchers[1].age_seconds()) == (0, 3)
    task.cancel()
    text = Exposition(metrics).render("")[0].decode()
    assert 'headgate_watch_connected{watch="routes"} 1.0' in text
    assert 'headgate_watch_connected{watch="catalogue"} 0.0' in text
    clock.advance(7)
    text = Exposition(metrics).render("")[0].decode()
    assert 'headgate_watch_age_seconds{watch="routes"} 7.0' in text
