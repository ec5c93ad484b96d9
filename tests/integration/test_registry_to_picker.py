"""From the file to a pick: registry, routing and picker joined by their watch streams, in one process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from headgate.registry.v1 import registry_pb2
from headgate.routing.v1 import routing_pb2
from headgate.watch.v1.watch_pb2 import Position
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_clock import SystemClock
from headgate_picker import Picker, RouteTable
from headgate_registry.app import build as build_registry
from headgate_registry.settings import RegistrySettings
from headgate_routing.app import RoutingApp
from headgate_routing.app import build as build_routing
from headgate_rpc.call import CallContext
from headgate_rpc.channel import StreamReply
from headgate_rpc.errors import HeadgateError
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_rpc.watcher import Update, Watcher
from headgate_settings.config import ConfigFile

TEXT = """\
providers: [{name: script, type: mock}]
models: [{id: m, provider: script}, {id: n, provider: script}]
aliases: {fast: m}
routing: {fallbacks: {m: [n]}}
"""


class Open:
    """Admits everyone, records nothing."""

    async def admit(self, call: CallContext) -> None:
        """Nothing to decide."""

    def started(self, call: CallContext) -> None:
        """Nothing to note."""

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        """Nothing to note."""


@dataclass
class Chain:
    """The joined services and the picker at their end; `changed` is set by each table that arrives."""

    file: ConfigFile
    routing: RoutingApp
    picker: Picker
    changed: asyncio.Event

    async def next_table(self) -> None:
        await asyncio.wait_for(self.changed.wait(), 10)
        self.changed.clear()

    def reload(self, text: str) -> bool:
        self.file.path.write_text(text)
        return self.file.check_once()


@asynccontextmanager
async def chain(folder: Path) -> AsyncIterator[Chain]:
    clock = SystemClock()
    path = folder / "headgate.yaml"
    path.write_text(TEXT)
    file = ConfigFile(path, {})
    file.read()
    host = Host(Open(), Open())
    channel = InprocChannel(host)
    registry = build_registry(RegistrySettings(discovery="off"), file, clock)
    routing = build_routing(file, clock, RegistryClient(channel))
    host.add(registry_pb2.DESCRIPTOR.services_by_name["RegistryService"], registry.servicer)
    host.add(routing_pb2.DESCRIPTOR.services_by_name["RoutingService"], routing.servicer)
    joined = Chain(file, routing, Picker(clock, Random(1)), asyncio.Event())

    async def open_stream(position: Position) -> StreamReply[routing_pb2.WatchRoutesResponse]:
        return await RoutingClient(channel).watch_routes(routing_pb2.WatchRoutesRequest(position=position))

    def take(update: Update[routing_pb2.Route]) -> None:
        joined.picker.replace(RouteTable(update.items, update.position.version))
        joined.changed.set()

    watcher: Watcher[routing_pb2.Route] = Watcher("routes", open_stream, lambda route: route.name, take)
    following = asyncio.create_task(watcher.run())
    await registry.start()
    await routing.start()
    try:
        yield joined
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await routing.stop()
        await registry.stop()


async def test_what_the_file_says_is_what_is_picked(tmp_path: Path) -> None:
    async with chain(tmp_path) as joined:
        await joined.next_table()
        assert set(joined.picker.table.routes) == {"m", "n", "fast", "local-minilm", "local-extractive"}
        first = joined.picker.pick("fast")
        assert first is not None
        assert (first.id, first.provider) == ("m@script/m", "script")
        second = joined.picker.pick("fast", {first.id})
        assert second is not None
        assert second.model == "n"


async def test_a_changed_file_reaches_the_picker_as_a_delta(tmp_path: Path) -> None:
    async with chain(tmp_path) as joined:
        await joined.next_table()
        before = joined.picker.table.version
        assert joined.reload(
            TEXT.replace("{id: n, provider: script}", "{id: o, provider: script}").replace("[n]", "[o]")
        )
        while "o" not in joined.picker.table:
            await joined.next_table()
        assert "n" not in joined.picker.table
        assert joined.picker.table.version > before
        assert list(joined.picker.table.routes["fast"].fallbacks) == ["o"]


async def test_changed_fallbacks_alone_reach_the_picker(tmp_path: Path) -> None:
    async with chain(tmp_path) as joined:
        await joined.next_table()
        assert joined.reload(TEXT.replace("{m: [n]}", "{}"))
        await joined.next_table()
        assert joined.picker.table.routes["m"].fallbacks == ()


async def test_a_bad_file_changes_no_route(tmp_path: Path) -> None:
    async with chain(tmp_path) as joined:
        await joined.next_table()
        assert not joined.reload(TEXT.replace("fast: m", "fast: zzz").replace("{m: [n]}", "{}"))
        assert joined.file.current.routing.fallbacks
        assert list(joined.picker.table.routes["m"].fallbacks) == ["n"]
