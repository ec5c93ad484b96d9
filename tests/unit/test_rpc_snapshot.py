"""What a follower knew last survives on disk, and only if it is whole, of the right kind and of today."""

import asyncio
import stat
from pathlib import Path

import pytest

from headgate.metering.v1.metering_pb2 import WatchPoliciesResponse
from headgate.routing.v1.routing_pb2 import Route, WatchRoutesResponse
from headgate.watch.v1.watch_pb2 import Position
from headgate_rpc import watcher as watcher_module
from headgate_rpc.channel import StreamReply
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.snapshot import SnapshotFile
from headgate_rpc.watch import WatchSource
from headgate_rpc.watcher import Update, Watcher
from headgate_testing.clock import FakeClock

ROUTES = {name: Route(name=name, fallbacks=["x"]) for name in ("a", "b")}
POSITION = Position(epoch="e", version=7)


@pytest.fixture
def file(tmp_path: Path) -> SnapshotFile[WatchRoutesResponse]:
    return SnapshotFile(tmp_path / "snapshots" / "routes", WatchRoutesResponse, FakeClock())


def test_what_is_saved_is_loaded(file: SnapshotFile[WatchRoutesResponse]) -> None:
    file.save(ROUTES.values(), POSITION)
    loaded = file.load()
    assert loaded is not None
    message, age_s = loaded
    assert list(message.part.items) == list(ROUTES.values())
    assert (message.part.last, message.position, age_s) == (True, POSITION, 0)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [each.name for each in file.path.parent.iterdir()] == ["routes"]


def test_no_file_is_no_snapshot(file: SnapshotFile[WatchRoutesResponse]) -> None:
    assert file.load() is None


def test_every_flipped_byte_is_noticed(file: SnapshotFile[WatchRoutesResponse]) -> None:
    file.save(ROUTES.values(), POSITION)
    content = file.path.read_bytes()
    for at in range(len(content)):
        file.path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert file.load() is None, at


def test_a_torn_file_is_noticed(file: SnapshotFile[WatchRoutesResponse]) -> None:
    file.save(ROUTES.values(), POSITION)
    content = file.path.read_bytes()
    for size in range(len(content)):
        file.path.write_bytes(content[:size])
        assert file.load() is None, size


def test_a_snapshot_of_another_watch_is_refused(file: SnapshotFile[WatchRoutesResponse]) -> None:
    file.save(ROUTES.values(), POSITION)
    assert SnapshotFile(file.path, WatchPoliciesResponse, FakeClock()).load() is None


def test_a_snapshot_is_used_for_a_day(tmp_path: Path) -> None:
    clock = FakeClock()
    file = SnapshotFile(tmp_path / "routes", WatchRoutesResponse, clock)
    file.save(ROUTES.values(), POSITION, age_s=3600)
    clock.advance(23 * 3600)
    loaded = file.load()
    assert loaded is not None and loaded[1] == 24 * 3600
    clock.advance(0.001)
    assert file.load() is None


class Process:
    """One life of a follower. Its source may be away."""

    def __init__(self, file: SnapshotFile[WatchRoutesResponse], clock: FakeClock) -> None:
        self.source: WatchSource[Route] | None = None
        self.updates: list[Update[Route]] = []
        self.asked: list[Position] = []
        self.watcher = Watcher[Route](
            "routes",
            self.open,
            lambda route: route.name,
            self.updates.append,
            clock=clock,
            retry_s=0.001,
            snapshot=file,
        )

    async def open(self, position: Position) -> StreamReply[WatchRoutesResponse]:
        self.asked.append(position)
        if self.source is None:
            raise HeadgateError(Reason.SERVICE_UNAVAILABLE, "away")
        return self.source.follow(position, WatchRoutesResponse)  # type: ignore[return-value]

    async def live(self) -> "asyncio.Task[None]":
        task = asyncio.create_task(self.watcher.run())
        await asyncio.wait_for(self.watcher.ready.wait(), 5)
        return task


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_process_starts_from_its_snapshot_and_resumes_there(tmp_path: Path) -> None:
    clock = FakeClock()
    file = SnapshotFile(tmp_path / "routes", WatchRoutesResponse, clock)
    source: WatchSource[Route] = WatchSource(heartbeat_s=0.01)
    source.replace(ROUTES)
    first = Process(file, clock)
    first.source = source
    await end(await first.live())

    clock.advance(60)
    second = Process(file, clock)
    task = await second.live()
    assert second.watcher.items == ROUTES
    assert not second.watcher.connected
    assert second.watcher.age_seconds() == 60
    source.publish({"c": Route(name="c")})
    second.source = source
    async with asyncio.timeout(5):
        while "c" not in second.watcher.items:
            await asyncio.sleep(0.001)
    assert bool(second.watcher.connected)  # type: ignore[unreachable]
    assert second.asked[-1].epoch == source.epoch
    assert not second.updates[-1].restarted, "only what was missed"
    await end(task)


async def test_a_process_that_runs_goes_on_past_the_day(tmp_path: Path) -> None:
    clock = FakeClock()
    file = SnapshotFile(tmp_path / "routes", WatchRoutesResponse, clock)
    file.save(ROUTES.values(), POSITION)
    process = Process(file, clock)
    task = await process.live()
    clock.advance(25 * 3600)
    tries = len(process.asked)
    async with asyncio.timeout(5):
        while len(process.asked) < tries + 3:
            await asyncio.sleep(0.001)
    assert process.watcher.items == ROUTES and len(process.updates) == 1
    assert process.watcher.age_seconds() == 25 * 3600
    await end(task)


async def test_a_snapshot_says_now_and_then_that_it_still_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "SAVE_AFTER_S", 0)
    monkeypatch.setattr(watcher_module, "SAVE_EVERY_S", 0.01)
    clock = FakeClock()
    file = SnapshotFile(tmp_path / "routes", WatchRoutesResponse, clock)
    process = Process(file, clock)
    process.source = WatchSource(heartbeat_s=0.01)
    task = await process.live()
    async with asyncio.timeout(5):
        while file.load() is None:
            await asyncio.sleep(0.001)
    clock.advance(20 * 3600)  # and nothing changes
    async with asyncio.timeout(5):
        while (loaded := file.load()) is None or loaded[1] > 0:
            await asyncio.sleep(0.001)
    await end(task)


async def test_a_source_that_is_there_is_asked_before_the_snapshot(tmp_path: Path) -> None:
    clock = FakeClock()
    file = SnapshotFile(tmp_path / "routes", WatchRoutesResponse, clock)
    file.save(ROUTES.values(), POSITION)
    process = Process(file, clock)
    process.source = WatchSource(heartbeat_s=0.01)
    process.source.replace({"new": Route(name="new")})
    task = await process.live()
    assert [set(update.items) for update in process.updates] == [{"new"}]
    await end(task)


async def test_a_damaged_snapshot_is_as_none(tmp_path: Path) -> None:
    file = SnapshotFile(tmp_path / "routes", WatchRoutesResponse, FakeClock())
    file.save(ROUTES.values(), POSITION)
    file.path.write_bytes(file.path.read_bytes()[:-1])
    process = Process(file, FakeClock())
    task = asyncio.create_task(process.watcher.run())
    async with asyncio.timeout(5):
        while len(process.asked) < 3:
            await asyncio.sleep(0.001)
    assert not process.watcher.ready.is_set()
    await end(task)


async def test_many_changes_are_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "SAVE_AFTER_S", 0.02)
    clock = FakeClock()
    writes = 0

    class Counted(SnapshotFile[WatchRoutesResponse]):
        def save(self, *arguments: object, **names: object) -> None:
            nonlocal writes
            writes += 1
            super().save(*arguments, **names)  # type: ignore[arg-type]

    file = Counted(tmp_path / "routes", WatchRoutesResponse, clock)
    process = Process(file, clock)
    process.source = WatchSource(heartbeat_s=0.01)
    task = await process.live()
    for number in range(100):
        process.source.publish({str(number): Route(name=str(number))})
    async with asyncio.timeout(5):
        while (loaded := file.load()) is None or len(loaded[0].part.items) < 100:
            await asyncio.sleep(0.001)
    assert writes <= 3
    await end(task)
