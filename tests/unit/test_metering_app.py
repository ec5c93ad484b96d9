"""Metering as it runs: the RPCs over a channel, over SQLite files."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from headgate.metering.v1 import metering_pb2 as pb
from headgate_admission.principal import Principal
from headgate_clients.metering import MeteringClient
from headgate_metering.app import MeteringApp, build
from headgate_metering.settings import MeteringSettings
from headgate_rpc.call import CallContext
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_settings.config import ConfigFile
from headgate_testing.clock import FakeClock

NOW = 1_700_000_000_000


class GateByAccount:
    """Lets everybody in as the account they name."""

    async def admit(self, call: CallContext) -> None:
        if account := call.metadata.get("x-account"):
            call.principal = Principal(
                f"key_{account}", account, "", frozenset({"usage:read"}), frozenset(), "free"
            )


class NoObserver:
    def started(self, call: CallContext) -> None: ...

    def finished(self, call: CallContext, error: HeadgateError | None) -> None: ...


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall_ms=NOW)


@pytest.fixture
def config_file(tmp_path: Path) -> ConfigFile:
    found = ConfigFile(tmp_path / "headgate.yaml", {})
    found.read()
    return found


@pytest.fixture
async def app(tmp_path: Path, config_file: ConfigFile, clock: FakeClock) -> AsyncIterator[MeteringApp]:
    built = build(MeteringSettings(data=tmp_path), config_file, clock)
    await built.start()
    yield built
    await built.stop()


@pytest.fixture
def client(app: MeteringApp) -> MeteringClient:
    host = Host(GateByAccount(), NoObserver())
    host.add(pb.DESCRIPTOR.services_by_name["MeteringService"], app.servicer)
    return MeteringClient(InprocChannel(host))


def uid(name: str) -> str:
    """A UUIDv7 in the order of the names."""
    time = f"{NOW:012x}"
    return f"{time[:8]}-{time[8:]}-7000-8000-{name.encode().hex():0>12}"


def by(account: str) -> Options:
    return Options({"x-account": account})


def event(call_id: str, kind: "pb.EventKind.ValueType", account: str = "acct_a") -> pb.UsageEvent:
    found = pb.UsageEvent(kind=kind, producer_id="journal-1", seq=1, requested_model="gpt-4", model="gpt-4")
    found.call.call_id, found.call.account_id, found.call.started_at_ms = call_id, account, NOW
    if kind == pb.EVENT_KIND_SETTLE:
        found.outcome, found.cost_nano_usd = pb.OUTCOME_COMPLETED, 100
        found.quantities.input_tokens, found.quantities.output_tokens = 10, 5
    return found


def batch(*events: pb.UsageEvent) -> pb.RecordUsageRequest:
    return pb.RecordUsageRequest(producer_id="journal-1", events=events)


async def test_what_was_recorded_shows_in_usage_and_records_of_its_account(client: MeteringClient) -> None:
    await client.record_usage(
        batch(*(event(uid(f"c{n}"), pb.EVENT_KIND_SETTLE, f"acct_{'ab'[n % 2]}") for n in range(5)))
    )
    usage = (await client.get_usage(pb.GetUsageRequest(), by("acct_a"))).message
    [model] = usage.models
    assert (model.model, model.requests, model.cost_nano_usd) == ("gpt-4", 3, 300)
    assert model.quantities == pb.Quantities(input_tokens=30, output_tokens=15)
    assert usage.start_ms <= NOW < usage.end_ms
    records = (await client.list_usage_records(pb.ListUsageRecordsRequest(page_size=2), by("acct_a"))).message
    assert [record.call.call_id for record in records.records] == [uid("c4"), uid("c2")]
    rest = pb.ListUsageRecordsRequest(page_token=records.next_page_token)
    assert [
        r.call.call_id for r in (await client.list_usage_records(rest, by("acct_a"))).message.records
    ] == [uid("c0")]
    one = pb.ListUsageRecordsRequest(call_id=uid("c1"))
    assert not (await client.list_usage_records(one, by("acct_a"))).message.records
    assert len((await client.list_usage_records(one, by("acct_b"))).message.records) == 1


async def test_usage_without_an_account_is_refused(client: MeteringClient) -> None:
    with pytest.raises(HeadgateError) as refused:
        await client.get_usage(pb.GetUsageRequest())
    assert refused.value.reason is Reason.UNAUTHORIZED


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.RecordUsageRequest(), "producer_id"),
        (batch(*(event("c", pb.EVENT_KIND_SETTLE) for _ in range(1001))), "events"),
    ],
)
async def test_a_batch_without_a_sender_or_too_large_is_refused(
    client: MeteringClient, request_: pb.RecordUsageRequest, field: str
) -> None:
    with pytest.raises(HeadgateError) as refused:
        await client.record_usage(request_)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_REQUEST, field)


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (None, "holder_id"),
        (pb.LeaseAsk(bucket_id="nonsense", want=1), "asks"),
        (pb.LeaseAsk(bucket_id="requests/free/default/k", want=-1), "asks"),
        (pb.LeaseAsk(bucket_id="requests/free/default/k", spent=-(2**63)), "asks"),
    ],
)
async def test_asks_that_make_no_sense_are_refused(
    client: MeteringClient, ask: pb.LeaseAsk | None, field: str
) -> None:
    request = pb.AcquireLeasesRequest(holder_id="" if ask is None else "a", asks=[] if ask is None else [ask])
    with pytest.raises(HeadgateError) as refused:
        await client.acquire_leases(request)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID_REQUEST, field)


async def test_a_grant_carries_its_lease_and_the_figures_of_the_bucket(
    client: MeteringClient, clock: FakeClock
) -> None:
    clock.skew(100)  # reset is told on the clock of the machine, as it is now
    ask = pb.LeaseAsk(bucket_id="requests/free/default/key_1", want=4)
    reply = await client.acquire_leases(pb.AcquireLeasesRequest(holder_id="a", asks=[ask, ask, ask]))
    first, _, last = reply.message.grants
    assert first.lease_id != last.lease_id
    assert first.fencing < last.fencing
    assert (first.units, first.ttl_ms, first.limit, first.remaining, first.holders) == (4, 5000, 10, 6, 1)
    assert first.reset_at_ms == NOW + 100_000 + 24_000
    assert (last.units, last.remaining) == (2, 0)


async def test_policies_are_followed_over_a_change_of_the_file(
    app: MeteringApp, client: MeteringClient, config_file: ConfigFile
) -> None:
    async with aclosing(await client.watch_policies(pb.WatchPoliciesRequest())) as stream:
        messages = aiter(stream)
        first = await asyncio.wait_for(anext(messages), 5)
        assert {policy.name for policy in first.part.items} >= {"standard", "free", "enterprise"}
        config_file.path.write_text("policies: {tiny: {limits: {default: {requests_per_minute: 3}}}}\n")
        assert config_file.check_once()
        change = await asyncio.wait_for(anext(messages), 5)
        assert [policy.name for policy in change.delta.upserts] == ["tiny"]
    ask = pb.LeaseAsk(bucket_id="requests/tiny/default/key_1", want=9)
    [grant] = (await client.acquire_leases(pb.AcquireLeasesRequest(holder_id="a", asks=[ask]))).message.grants
    assert (grant.units, grant.limit) == (3, 3)


async def test_a_bad_change_of_the_file_keeps_the_old_policies(
    app: MeteringApp, config_file: ConfigFile
) -> None:
    before = dict(app.servicer.policies.items)
    config_file.path.write_text('policies: {"a/b": {limits: {default: {requests_per_minute: 3}}}}\n')
    assert not config_file.check_once()
    assert dict(app.servicer.policies.items) == before


async def test_upkeep_settles_silent_producers_and_forgets_idle_limits(
    app: MeteringApp, client: MeteringClient, clock: FakeClock
) -> None:
    await client.record_usage(batch(event(uid("c1"), pb.EVENT_KIND_INTENT)))
    await app.upkeep()
    for _ in range(12):
        clock.advance(5)
        await app.upkeep()
    [record] = (await client.list_usage_records(pb.ListUsageRecordsRequest(), by("acct_a"))).message.records
    assert (record.outcome, record.estimated) == (pb.OUTCOME_EXPIRED, True)


async def test_the_ledger_is_there_again_after_a_restart(
    tmp_path: Path, config_file: ConfigFile, clock: FakeClock, app: MeteringApp, client: MeteringClient
) -> None:
    await client.record_usage(batch(event(uid("c1"), pb.EVENT_KIND_SETTLE)))
    await app.stop()
    again = build(MeteringSettings(data=tmp_path), config_file, clock)
    report = await again.servicer.usage.report("acct_a", 0, 0)
    assert report.models["gpt-4"].requests == 1
    await again.stop()
