"""Auth and admission together: a key works once it is made and stops everywhere once it is revoked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from headgate.auth.v1 import auth_pb2
from headgate.metering.v1.metering_pb2 import RatePolicy
from headgate_admission.admission import Admission
from headgate_auth.app import AuthApp, build
from headgate_auth.settings import AuthSettings
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_clock import SystemClock
from headgate_rpc.call import CallContext, Peer
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.host import Host
from headgate_rpc.inproc import InprocChannel
from headgate_testing.admission import FakeLeases, FakeMetering
from headgate_testing.clock import FakeClock

POLICIES = [RatePolicy(name="standard"), RatePolicy(name="enterprise")]


class NoObserver:
    def started(self, call: CallContext) -> None: ...

    def finished(self, call: CallContext, error: HeadgateError | None) -> None: ...


class Suite:
    """Two processes' worth of admission in front of one auth, and a caller from outside."""

    def __init__(self, folder: Path) -> None:
        self.auth: AuthApp = build(AuthSettings(data=folder), SystemClock())
        self.admissions = [Admission(SystemClock(), POLICIES) for _ in range(2)]
        self.hosts = [Host(admission, NoObserver()) for admission in self.admissions]
        for host, admission in zip(self.hosts, self.admissions, strict=True):
            host.add(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], self.auth.servicer)
            inside = AuthClient(InprocChannel(host))
            admission.connect(inside, cast(MeteringClient, FakeMetering()), FakeLeases(FakeClock()))
        self.operator = by(self.auth.bootstrap_key.reveal())

    def caller(self, number: int) -> AuthClient:
        return AuthClient(InprocChannel(self.hosts[number], Peer("192.0.2.1", False)))


def by(credential: str) -> Options:
    return Options({"authorization": f"Bearer {credential}"})


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[Suite]:
    built = Suite(tmp_path)
    await built.auth.start()
    for admission in built.admissions:
        await admission.start()
        await admission._credentials_watch.ready.wait()
    yield built
    for admission in built.admissions:
        await admission.stop()
    await built.auth.stop()


async def make(suite: Suite, *scopes: str) -> auth_pb2.CreateKeyResponse:
    request = auth_pb2.CreateKeyRequest(name="ci", scopes=scopes)
    return (await suite.caller(0).create_key(request, suite.operator)).message


async def refusal(suite: Suite, number: int, credential: str) -> HeadgateError:
    with pytest.raises(HeadgateError) as caught:
        await suite.caller(number).list_keys(auth_pb2.ListKeysRequest(), by(credential))
    return caught.value


async def test_a_key_works_at_once_and_ends_in_every_process(suite: Suite) -> None:
    made = await make(suite, "keys")
    for number in range(2):
        reply = await suite.caller(number).list_keys(auth_pb2.ListKeysRequest(), by(made.secret))
        assert made.key.id in [key.id for key in reply.message.keys]
        assert reply.metadata["x-ratelimit-limit"] == "2147483647"
    await suite.caller(1).revoke_key(auth_pb2.RevokeKeyRequest(key_id=made.key.id), suite.operator)
    end = (await suite.auth._store.invalidations(0)).end
    async with asyncio.timeout(5):
        for admission in suite.admissions:
            while admission._credentials_watch.position.version < end.version:
                await asyncio.sleep(0)
    for number in range(2):
        assert (await refusal(suite, number, made.secret)).reason is Reason.INVALID_CREDENTIALS


async def test_the_scopes_of_the_contract_are_enforced(suite: Suite) -> None:
    made = await make(suite, "inference")
    assert (await refusal(suite, 0, made.secret)).reason is Reason.FORBIDDEN
    with pytest.raises(HeadgateError) as caught:
        await suite.caller(0).authenticate(
            auth_pb2.AuthenticateRequest(credential=made.secret), suite.operator
        )
    assert caught.value.reason is Reason.FORBIDDEN


async def test_a_use_is_listed_as_the_last_use(suite: Suite) -> None:
    made = await make(suite, "keys")
    assert made.key.last_used_at_ms == 0
    reply = await suite.caller(0).list_keys(auth_pb2.ListKeysRequest(), by(made.secret))
    listed = {key.id: key for key in reply.message.keys}
    assert listed[made.key.id].last_used_at_ms >= made.key.created_at_ms
