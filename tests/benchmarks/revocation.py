"""How long a revoked key goes on working in a process whose event loop is saturated (goal R22).

    .venv/bin/python tests/benchmarks/revocation.py [revocations]

An auth in one process revokes keys; in another one, calls with known keys follow each other without a pause, each with
2 ms of CPU, 25 of them at a time. Measured is the time from the revocation to the moment it is in force there: with the
watch on the calls' own loop, and in a thread of its own. Both processes share the machine's cores.
"""

import asyncio
import multiprocessing
import random
import sys
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any, cast

import uvloop

from headgate.auth.v1 import auth_pb2
from headgate_admission.admission import Admission
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.host import Host
from headgate_rpc.server import RpcServer, ServerOptions
from headgate_rpc.thread_channel import ThreadChannel
from headgate_rpc.watch import WatchSource
from headgate_settings import Secret
from headgate_testing.admission import POLICIES, AdmissionRig

SECRET = Secret("part-of-the-suite")
SLICE_S = 0.002
CALLS = 25


class Auth:
    """Revokes. Names of what it revokes say when."""

    def __init__(self) -> None:
        self.source: WatchSource[auth_pb2.Principal] = WatchSource()

    def __getattr__(self, name: str) -> object:
        return None

    async def admit(self, call: object) -> None:
        pass

    def started(self, call: object) -> None:
        pass

    def finished(self, call: object, error: object) -> None:
        pass

    async def WatchCredentials(self, request: Any, call: object) -> AsyncIterator[Any]:
        async for message in self.source.follow(request.position, auth_pb2.WatchCredentialsResponse):
            yield message


def serve(pipe: Connection, revocations: int) -> None:
    """The process of auth."""

    async def run() -> None:
        auth = Auth()
        host = Host(auth, auth)
        host.add(auth_pb2.DESCRIPTOR.services_by_name["AuthService"], auth)
        server = RpcServer(host, "127.0.0.1:0", ServerOptions(suite_secret=SECRET))
        await server.start()
        await server.set_serving(True)
        pipe.send(server.port)
        await asyncio.to_thread(pipe.recv)
        for _ in range(revocations):
            auth.source.publish({}, [f"principal/{time.monotonic()}"])
            await asyncio.sleep(random.uniform(0.005, 0.015))
        auth.source.publish({}, ["end"])
        await asyncio.to_thread(pipe.recv)
        await server.stop(0)

    asyncio.run(run())


async def follow(pipe: Connection, *, threaded: bool) -> list[float]:
    """Milliseconds until each revocation was in force."""
    address = f"127.0.0.1:{pipe.recv()}"
    rig = AdmissionRig()
    credential = rig.add("inference")
    late: list[float] = []
    end = asyncio.Event()
    admission = Admission(rig.clock, POLICIES)
    channel = GrpcChannel(address, SECRET)
    admission.connect(
        cast(AuthClient, _Asked(rig, AuthClient(channel))),
        cast(MeteringClient, rig.metering),
        rig.leases,
        credentials=ThreadChannel(address, SECRET) if threaded else None,
    )
    forget = admission._callers.forget

    def noticed(names: tuple[str, ...], position: Any) -> None:
        now = time.monotonic()
        for name in names:
            if name == "end":
                end.set()
            else:
                late.append((now - float(name.removeprefix("principal/"))) * 1000)
        forget(names, position)

    admission._callers.forget = noticed  # type: ignore[method-assign]
    await admission.start()
    while not admission.watches[0].connected:
        await asyncio.sleep(0.01)

    async def call() -> None:
        while not end.is_set():
            await admission.admit(rig.call("Generate", credential))
            until = time.perf_counter() + SLICE_S
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0)

    pipe.send("begin")
    await asyncio.gather(*(call() for _ in range(CALLS)))
    pipe.send("end")
    await admission.stop()
    await channel.close()
    return late


class _Asked:
    """Watches over the wire; principals come from here."""

    def __init__(self, rig: AdmissionRig, wire: AuthClient) -> None:
        self.authenticate = rig.auth.authenticate
        self.watch_credentials = wire.watch_credentials


def main() -> None:
    """Print both."""
    revocations = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    context = multiprocessing.get_context("spawn")
    for threaded in (False, True):
        ours, theirs = context.Pipe()
        auth = context.Process(target=serve, args=(theirs, revocations))
        auth.start()
        late = sorted(uvloop.run(follow(ours, threaded=threaded)))
        auth.join()
        p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
        where = "thread of its own" if threaded else "loop of the calls"
        print(
            f"{where}: {len(late)} revocations, p50 {p50:.1f} p99 {p99:.1f} max {late[-1]:.1f} ms", flush=True
        )


if __name__ == "__main__":
    main()
