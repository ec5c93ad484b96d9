"""What is revoked is known at the next call, even when the loop gets to nothing else (goal R22)."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from typing import cast

import pytest

from headgate.auth.v1 import auth_pb2
from headgate_admission.admission import Admission
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.host import Host
from headgate_rpc.server import RpcServer, ServerOptions
from headgate_rpc.thread_channel import ThreadChannel
from headgate_settings import Secret
from headgate_testing.admission import POLICIES, AdmissionRig, FakeAuth

SECRET = Secret("part-of-the-suite")


class Open:
    """A gate and an observer that let everybody in."""

    async def admit(self, call: CallContext) -> None:
        pass

    def started(self, call: CallContext) -> None:
        pass

    def finished(self, call: CallContext, error: HeadgateError | None) -> None:
        pass


class AuthProcess:
    """An auth that does not share the loop of the test, as if it were another process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.fake: Future[FakeAuth] = Future()
        self.address: Future[str] = Future()
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self._thread.start()

    def __getattr__(self, name: str) -> object:
        return None  # RPCs of the contract that nobody calls here

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        self._fake = FakeAuth()
        host = Host(Open(), Open())
        host.add(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], self)
        server = RpcServer(host, "127.0.0.1:0", ServerOptions(suite_secret=SECRET))
        await server.start()
        await server.set_serving(True)
        self.fake.set_result(self._fake)
        self.address.set_result(f"127.0.0.1:{server.port}")
        await self._end.wait()
        await server.stop(0)

    async def Authenticate(
        self, request: auth_pb2.AuthenticateRequest, call: CallContext
    ) -> auth_pb2.AuthenticateResponse:
        return (await self._fake.authenticate(request, None)).message  # type: ignore[arg-type]

    async def WatchCredentials(
        self, request: auth_pb2.WatchCredentialsRequest, call: CallContext
    ) -> AsyncIterator[auth_pb2.WatchCredentialsResponse]:
        async for message in await self._fake.watch_credentials(request):
            yield message

    def revoke(self, credential: str) -> None:
        """Done when this returns."""
        done = threading.Event()

        def revoke() -> None:
            self._fake.revoke(credential)
            done.set()

        self.loop.call_soon_threadsafe(revoke)
        done.wait(5)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def auth() -> Iterator[AuthProcess]:
    process = AuthProcess()
    yield process
    process.stop()


async def test_a_revoked_key_is_refused_before_the_loop_has_run_anything_else(auth: AuthProcess) -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    auth.fake.result().principals.update(rig.auth.principals)
    channel = GrpcChannel(auth.address.result(), SECRET)
    admission = Admission(rig.clock, POLICIES)
    admission.connect(
        AuthClient(channel),
        cast(MeteringClient, rig.metering),
        rig.leases,
        credentials=ThreadChannel(auth.address.result(), SECRET),
    )
    await admission.start()
    cuts: list[str] = []
    running = rig.call("StreamGenerate", credential)
    async with asyncio.timeout(10):
        while not admission.watches[0].connected or admission._news:
            await asyncio.sleep(0.001)
        await admission.admit(running)
    admission.on_revoked(running, lambda: cuts.append("cut"))
    assert threading.active_count() >= 3

    auth.revoke(credential)
    deadline = time.monotonic() + 10
    while not admission._news and time.monotonic() < deadline:
        time.sleep(0.001)  # the loop of this test stands still, as a busy one would
    with pytest.raises(HeadgateError) as refused:
        await admission.admit(rig.call("Generate", credential))
    assert refused.value.condition.http in {401, 503}
    async with asyncio.timeout(10):
        while not cuts:
            await asyncio.sleep(0.001)
    await admission.stop()
    await admission.start()  # it can follow again
    await admission.stop()
    await channel.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch-")]
