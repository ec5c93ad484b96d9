"""Two replicas of auth on one PostgreSQL: what one is told, the other one's followers hear."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from headgate.auth.v1 import auth_pb2
from headgate.watch.v1.watch_pb2 import Position
from headgate_admission.principal import from_message
from headgate_auth.app import AuthApp, build
from headgate_auth.settings import AuthSettings
from headgate_clients.auth import AuthClient
from headgate_clock import SystemClock
from headgate_credentials import generate
from headgate_database import StoreError
from headgate_rpc.call import CallContext
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_settings import Seconds, Secret, SettingsError
from headgate_testing.databases import throw_away_database
from headgate_testing.ports import free_port
from headgate_testing.proxy import Proxy

pytestmark = pytest.mark.servers

PEPPER, BOOTSTRAP = Secret("a pepper of these tests"), generate().text


class GateOfOne:
    """Lets everybody in as the principal of their credential, as admission would."""

    def __init__(self, app: AuthApp) -> None:
        self._app = app

    async def admit(self, call: CallContext) -> None:
        if call.method.required_scope != "internal":
            request = auth_pb2.AuthenticateRequest(credential=call.metadata["x-api-key"])
            call.principal = from_message((await self._app.servicer.Authenticate(request, call)).principal)


class NoObserver:
    def started(self, call: CallContext) -> None: ...

    def finished(self, call: CallContext, error: HeadgateError | None) -> None: ...


class Replica:
    def __init__(self, app: AuthApp) -> None:
        self.app = app
        host = Host(GateOfOne(app), NoObserver())
        host.add(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], app.servicer)
        self.client = AuthClient(InprocChannel(host))

    async def make_key(self) -> auth_pb2.CreateKeyResponse:
        request = auth_pb2.CreateKeyRequest(name="ci")
        return (await self.client.create_key(request, BY_OPERATOR)).message

    async def revoke(self, key_id: str) -> None:
        await self.client.revoke_key(auth_pb2.RevokeKeyRequest(key_id=key_id), BY_OPERATOR)

    async def who(self, credential: str) -> auth_pb2.AuthenticateResponse:
        return (await self.client.authenticate(auth_pb2.AuthenticateRequest(credential=credential))).message

    async def watch(self) -> AsyncIterator[auth_pb2.WatchCredentialsResponse]:
        stream = await self.client.watch_credentials(auth_pb2.WatchCredentialsRequest())
        async for message in stream:
            yield message


BY_OPERATOR = Options({"x-api-key": BOOTSTRAP.reveal()})


@pytest.fixture
def url() -> Iterator[str]:
    with throw_away_database() as url:
        yield url


@pytest.fixture
def settings(url: str, tmp_path: Path) -> AuthSettings:
    return AuthSettings(
        data=tmp_path,
        bootstrap_key=BOOTSTRAP,
        pepper=PEPPER,
        database_url=Secret(url),
        database_timeout=Seconds(0.4),
    )


@asynccontextmanager
async def replica(settings: AuthSettings) -> AsyncIterator[Replica]:
    app = await asyncio.to_thread(build, settings, SystemClock())
    try:
        await app.start()
        yield Replica(app)
    finally:
        await app.stop()


@pytest.fixture
async def pair(settings: AuthSettings) -> AsyncIterator[tuple[Replica, Replica]]:
    async with replica(settings) as one, replica(settings) as two:
        yield one, two


async def refusal(awaitable: Awaitable[object]) -> HeadgateError:
    with pytest.raises(HeadgateError) as caught:
        await awaitable
    return caught.value


async def heard(stream: AsyncIterator[auth_pb2.WatchCredentialsResponse], name: str) -> Position:
    """The position of the change that names it."""
    async with asyncio.timeout(10):
        async for message in stream:
            if name in message.delta.deletes:
                return message.position
    raise AssertionError("the stream ended")


async def test_a_key_of_one_replica_is_known_to_the_other(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    made = await one.make_key()
    ours, theirs = await one.who(made.secret), await two.who(made.secret)
    assert ours == theirs
    assert ours.principal.id == made.key.id


async def test_followers_of_each_replica_hear_what_the_other_one_revoked(
    pair: tuple[Replica, Replica],
) -> None:
    streams = [each.watch() for each in pair]
    starts = [(await anext(stream)).position for stream in streams]
    assert starts[0] == starts[1]
    delays = []
    for number in range(40):
        teller, listener = pair[number % 2], streams[1 - number % 2]
        made = await teller.make_key()
        before = (await pair[1 - number % 2].who(made.secret)).position
        asked = time.monotonic()
        await teller.revoke(made.key.id)
        position = await heard(listener, f"principal/{made.key.id}")
        delays.append(time.monotonic() - asked)
        assert (position.epoch, position.version) == (before.epoch, before.version + 1)
        for each in pair:
            assert (await refusal(each.who(made.secret))).reason is Reason.INVALID_CREDENTIALS
    delays.sort()
    print(
        f"revoked at one, heard from the other: median {delays[20] * 1000:.1f} ms, longest {delays[-1] * 1000:.1f} ms"
    )
    assert delays[-1] < 5 * 0.25


async def test_a_lost_notice_is_made_up_for(pair: tuple[Replica, Replica], url: str) -> None:
    one, two = pair
    stream = two.watch()
    await anext(stream)
    for _ in range(5):
        made = await one.make_key()
        with psycopg.connect(url, autocommit=True) as other:  # among them the connection that listens
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        await one.revoke(made.key.id)
        await heard(stream, f"principal/{made.key.id}")


async def test_replicas_that_start_together_agree_on_the_first_key(settings: AuthSettings) -> None:
    async with AsyncExitStack() as stack:
        replicas = await asyncio.gather(
            *[stack.enter_async_context(replica(settings)) for _ in range(4)], return_exceptions=False
        )
        answers = [await each.who(BOOTSTRAP.reveal()) for each in replicas]
        assert [each.principal.id for each in answers] == ["key_bootstrap"] * 4
        assert len({(each.position.epoch, each.position.version) for each in answers}) == 1


async def test_another_bootstrap_key_is_announced_by_all(
    pair: tuple[Replica, Replica], settings: AuthSettings
) -> None:
    stream = pair[0].watch()
    await anext(stream)
    async with replica(replace(settings, bootstrap_key=generate().text)):
        await heard(stream, "principal/key_bootstrap")
        assert (await refusal(pair[0].who(BOOTSTRAP.reveal()))).reason is Reason.INVALID_CREDENTIALS


async def test_a_replica_with_another_pepper_does_not_start(
    pair: tuple[Replica, Replica], settings: AuthSettings
) -> None:
    with pytest.raises(SettingsError, match="HEADGATE_AUTH_PEPPER") as refused:
        async with replica(replace(settings, pepper=Secret("other"))):
            pass
    assert "\n" not in str(refused.value)
    await pair[0].who(BOOTSTRAP.reveal())


def test_what_replicas_share_must_be_given(settings: AuthSettings) -> None:
    with pytest.raises(SettingsError, match="HEADGATE_AUTH_PEPPER"):
        build(replace(settings, pepper=Secret()), SystemClock())
    with pytest.raises(SettingsError, match="HEADGATE_BOOTSTRAP_KEY"):
        build(replace(settings, bootstrap_key=Secret()), SystemClock())
    assert list(settings.data.iterdir()) == []


def test_another_kind_of_database_is_refused(settings: AuthSettings) -> None:
    with pytest.raises(StoreError, match="HEADGATE_DATABASE_URL"):
        build(replace(settings, database_url=Secret("mysql://me:hunter2@127.0.0.1/x")), SystemClock())


def over(proxy: Proxy, settings: AuthSettings) -> AuthSettings:
    url = settings.database_url.reveal().replace(":".join(map(str, proxy.target)), proxy.address)
    return replace(settings, database_url=Secret(url))


@asynccontextmanager
async def proxy_of(settings: AuthSettings) -> AsyncIterator[Proxy]:
    address = settings.database_url.reveal().removeprefix("postgresql://").partition("/")[0]
    async with Proxy(address.rpartition("@")[2]) as proxy:
        yield proxy


async def slowest_of(calls: list[Callable[[], Awaitable[object]]]) -> float:
    start = time.monotonic()
    for error in await asyncio.gather(*[refusal(call()) for call in calls]):
        assert error.reason is Reason.SERVICE_UNAVAILABLE
        assert error.retry_after_ms
    return time.monotonic() - start


@pytest.mark.parametrize("how", ["refuse", "swallow"])
async def test_without_its_database_auth_says_that_it_does_not_know(settings: AuthSettings, how: str) -> None:
    async with proxy_of(settings) as proxy, replica(over(proxy, settings)) as one, replica(settings) as two:
        made = await one.make_key()
        stream = one.watch()
        await anext(stream)
        getattr(proxy, how)()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: one.who(made.secret),
            lambda: one.who(generate().text.reveal()),
            one.make_key,
            lambda: one.revoke(made.key.id),
        ]
        slowest = await slowest_of(calls)
        again = await slowest_of(calls)
        print(f"{how}: first calls refused after {slowest:.2f} s, later ones after {again:.4f} s")
        assert slowest < 5 * 3
        assert again < 0.25
        assert (await refusal(one.who("noise"))).reason is Reason.INVALID_CREDENTIALS
        async with asyncio.timeout(10):
            assert (await anext(stream)).WhichOneof("body") == "heartbeat"
        assert one.app.failing() == ()
        await two.revoke(made.key.id)
        await proxy.heal()
        await heard(stream, f"principal/{made.key.id}")
        assert (await refusal(one.who(made.secret))).reason is Reason.INVALID_CREDENTIALS


async def test_auth_starts_before_its_database(settings: AuthSettings) -> None:
    async with proxy_of(settings) as proxy:
        proxy.refuse()
        async with replica(over(proxy, settings)) as one:
            assert one.app.failing() == ("database",)
            assert (await refusal(one.who(BOOTSTRAP.reveal()))).reason is Reason.SERVICE_UNAVAILABLE
            assert (await refusal(anext(one.watch()))).reason is Reason.SERVICE_UNAVAILABLE
            await proxy.heal()
            async with asyncio.timeout(20):
                while one.app.failing():
                    await asyncio.sleep(0.05)
            assert (await one.who(BOOTSTRAP.reveal())).principal.id == "key_bootstrap"
            assert (await anext(one.watch())).part.last


async def test_auth_stops_without_its_database(settings: AuthSettings) -> None:
    never = f"postgresql://127.0.0.1:{free_port()}/none"
    async with asyncio.timeout(20):
        async with replica(replace(settings, database_url=Secret(never))):
            pass
