"""A database or a Redis that is away: "don't know" is another answer than "no", and nobody waits for long."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from headgate.metering.v1 import metering_pb2 as pb
from headgate_admission.principal import Principal
from headgate_clients.metering import MeteringClient
from headgate_leases.bucket import TokenBucket
from headgate_leases.holder import LeaseHolder
from headgate_metering.app import MeteringApp, build
from headgate_metering.breaker import FAILURES, PAUSE_S
from headgate_metering.settings import MeteringSettings
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_settings import Secret
from headgate_settings.config import ConfigFile
from headgate_testing.clock import FakeClock

ASK = pb.AcquireLeasesRequest(
    holder_id="a", asks=[pb.LeaseAsk(bucket_id="requests/free/default/key_1", want=1)]
)
RPCS: dict[str, Callable[[MeteringClient], Awaitable[object]]] = {
    "RecordUsage": lambda client: client.record_usage(pb.RecordUsageRequest(producer_id="journal-1")),
    "AcquireLeases": lambda client: client.acquire_leases(ASK),
    "GetUsage": lambda client: client.get_usage(pb.GetUsageRequest()),
    "ListUsageRecords": lambda client: client.list_usage_records(pb.ListUsageRecordsRequest()),
}


class Everybody:
    """Lets everybody in, as one account."""

    async def admit(self, call: CallContext) -> None:
        call.principal = Principal("key", "acct_a", "", frozenset({"usage:read"}), frozenset(), "free")


class NoObserver:
    def started(self, call: CallContext) -> None: ...

    def finished(self, call: CallContext, error: HeadgateError | None) -> None: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def metering(
    settings: MeteringSettings, clock: FakeClock
) -> AsyncIterator[tuple[MeteringApp, MeteringClient]]:
    file = ConfigFile(settings.data / "headgate.yaml", {})
    file.read()
    app = build(settings, file, clock)
    host = Host(Everybody(), NoObserver())
    host.add(pb.DESCRIPTOR.services_by_name["MeteringService"], app.servicer)
    await app.start()
    try:
        yield app, MeteringClient(InprocChannel(host))
    finally:
        await app.stop()


def nobody_there() -> int:
    """A port at which connections are refused."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def refusal(answer: Awaitable[object]) -> HeadgateError:
    with pytest.raises(HeadgateError) as refused:
        await answer
    return refused.value


@pytest.mark.parametrize("name", RPCS)
async def test_without_the_database_every_answer_is_unavailable_and_metering_starts(
    tmp_path: Path, clock: FakeClock, name: str
) -> None:
    url = Secret(f"postgresql://127.0.0.1:{nobody_there()}/none")
    async with metering(MeteringSettings(data=tmp_path, database_url=url), clock) as (_, client):
        error = await refusal(RPCS[name](client))
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert error.retry_after_ms


@pytest.mark.parametrize("name", RPCS)
async def test_a_file_that_cannot_be_used_is_unavailable_too(
    tmp_path: Path, clock: FakeClock, name: str
) -> None:
    async with metering(MeteringSettings(data=tmp_path), clock) as (_, client):
        for table in (
            "metering.usage_ledger",
            "metering.producers",
            "metering.usage_daily",
            "leases.lease_buckets",
        ):
            store, _, name_of_table = table.partition(".")
            with closing(sqlite3.connect(tmp_path / f"{store}.sqlite3")) as file:
                file.execute(f"ALTER TABLE {name_of_table} RENAME TO lost_{name_of_table}")
        error = await refusal(RPCS[name](client))
    assert error.reason is Reason.SERVICE_UNAVAILABLE


class BlackHole:
    """Takes connections and says nothing."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "BlackHole":
        self._server = await asyncio.start_server(self._swallow, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.read()
        writer.close()


async def test_a_redis_that_says_nothing_is_soon_left_alone_and_tried_now_and_then(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with BlackHole() as hole:
        settings = MeteringSettings(data=tmp_path, redis_url=Secret(f"redis://127.0.0.1:{hole.port}/0"))
        async with metering(settings, clock) as (_, client):
            for _ in range(20):
                assert (await refusal(client.acquire_leases(ASK))).reason is Reason.SERVICE_UNAVAILABLE
            assert hole.connections == FAILURES
            clock.advance(PAUSE_S)
            for _ in range(20):
                await refusal(client.acquire_leases(ASK))
            assert hole.connections == FAILURES + 1
            # The ledger is another matter.
            await client.record_usage(pb.RecordUsageRequest(producer_id="journal-1"))


async def test_holders_go_on_with_their_fair_share_while_redis_refuses(
    tmp_path: Path, clock: FakeClock
) -> None:
    settings = MeteringSettings(data=tmp_path, redis_url=Secret(f"redis://127.0.0.1:{nobody_there()}/0"))
    async with metering(settings, clock) as (_, client):

        async def acquire(request: pb.AcquireLeasesRequest) -> pb.AcquireLeasesResponse:
            return (await client.acquire_leases(request)).message

        holder = LeaseHolder("a", acquire, clock)
        answers = [
            await holder.acquire("tokens/free/default/k", 100, TokenBucket(10_000, 10_000)) for _ in range(20)
        ]
        await holder.close()
    # A tenth of the limit, since metering has never said how many share it.
    assert [answer is None for answer in answers] == [True] * 10 + [False] * 10
    assert not any(answer.known for answer in answers if answer is not None), (
        "nobody is told that it is the limit"
    )


def test_neither_url_is_shown(tmp_path: Path) -> None:
    settings = MeteringSettings(
        data=tmp_path,
        database_url=Secret("postgresql://u:hunter2@h/d"),
        redis_url=Secret("redis://:hunter2@h/0"),
    )
    assert "hunter2" not in repr(settings)
