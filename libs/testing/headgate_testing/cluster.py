"""A suite of several processes on loopback, in one of its shapes: real `headgate serve` commands with folders and
ports of their own, known before they start and kept over restarts."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from headgate.auth.v1.auth_pb2 import ListKeysRequest
from headgate.inference.v1.inference_pb2 import CheckCallerRequest
from headgate.metering.v1.metering_pb2 import GetUsageRequest
from headgate.registry.v1.registry_pb2 import ListModelsRequest
from headgate_clients.auth import AuthClient
from headgate_clients.inference import InferenceClient
from headgate_clients.metering import MeteringClient
from headgate_clients.registry import RegistryClient
from headgate_credentials import generate
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_testing.ports import free_port
from headgate_testing.process import Process
from headgate_testing.shapes import SERVICES, Shape, services_of


@dataclass(frozen=True)
class Member:
    """One process of the cluster: its number among its replicas, and where it listens."""

    group: tuple[str, ...]
    number: int
    http: str
    ops: str
    listens: Mapping[str, str]

    @property
    def name(self) -> str:
        """`inference-1` for the second inference; `auth-registry-0` where services share a process."""
        return f"{'-'.join(self.group)}-{self.number}"


@dataclass
class ClusterSpec:
    """A cluster to be: `config` is the text of headgate.yaml, which all processes share; `variables` come on top
    of every process's environment. `targets` may be changed before the start, to put proxies in the way."""

    folder: Path
    shape: Shape
    config: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("-m", "headgate_suite")
    members: list[Member] = field(default_factory=list)
    targets: dict[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        self.key = self.key or generate().text.reveal()
        self.members = [
            Member(group, number, _address(), _address(), listens_of(group))
            for group in self.shape.groups
            for number in range(self.shape.count(group))
        ]
        self.targets = {name: target_of(self.addresses(name)) for name in SERVICES}

    def addresses(self, service: str) -> list[str]:
        """Where the replicas of a service listen."""
        return [member.listens[service] for member in self.members if service in member.listens]

    def address(self, service: str) -> str:
        """Where its first replica listens."""
        return self.addresses(service)[0]

    def build(self) -> "Cluster":
        """The cluster, nothing of it started."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "headgate.yaml").write_text(self.config)
        shared = {
            "HEADGATE_CONFIG": str(self.folder / "headgate.yaml"),
            "HEADGATE_DISCOVERY": "off",
            "HEADGATE_GRACE": "5s",
            "HEADGATE_SUITE_SECRET": secrets.token_hex(16),
            "HEADGATE_BOOTSTRAP_KEY": self.key,
            "HEADGATE_AUTH_PEPPER": secrets.token_hex(16),
            **{f"HEADGATE_{name.upper()}_TARGET": target for name, target in self.targets.items()},
            **self.variables,
        }
        return Cluster(self, {member.name: self._process(member, shared) for member in self.members})

    def _process(self, member: Member, shared: Mapping[str, str]) -> Process:
        variables = {
            **shared,
            "HEADGATE_DATA": str(self.folder / member.name),
            "HEADGATE_OPS": member.ops,
            "HEADGATE_HTTP": member.http,
            **{f"HEADGATE_{name.upper()}_LISTEN": address for name, address in member.listens.items()},
        }
        return Process(
            member.name,
            (*self.command, "serve", *member.group),
            self.folder,
            self.folder / f"{member.name}.log",
            variables,
        )


@dataclass
class Cluster:
    """The processes by name (`auth-0`, `inference-1`), with the face that a suite in one process has."""

    spec: ClusterSpec
    processes: dict[str, Process]

    @property
    def folder(self) -> Path:
        """Where headgate.yaml, the logs and a data folder for each process are."""
        return self.spec.folder

    @property
    def key(self) -> str:
        """The bootstrap key."""
        return self.spec.key

    @property
    def url(self) -> str:
        """Base of the REST API, without a version path."""
        return next(f"http://{m.http}" for m in self.spec.members if "gateway" in services_of(m.group))

    @property
    def grpc(self) -> str:
        """Where inference is called by outsiders."""
        return self.target("inference")

    def target(self, service: str) -> str:
        """A gRPC target of all replicas of a service, with no proxy in between."""
        return target_of(self.spec.addresses(service))

    @property
    def ops(self) -> str:
        """Base URL of the operators' listener of the gateway."""
        return self.ops_of("gateway")[0]

    def address(self, service: str) -> str:
        """`host:port` where the first replica of a service answers gRPC."""
        return self.spec.address(service)

    def ops_of(self, service: str) -> list[str]:
        """Base URLs of the operators' listeners of the processes that hold a service."""
        return [f"http://{m.ops}" for m in self.spec.members if service in services_of(m.group)]

    def of(self, service: str) -> list[Process]:
        """The processes that hold a service."""
        return [self.processes[m.name] for m in self.spec.members if service in services_of(m.group)]

    def logs(self) -> str:
        """The standard error of all processes."""
        return "".join(process.log.read_text() for process in self.processes.values() if process.log.exists())

    async def start(self, order: Iterable[tuple[str, float]] = ()) -> None:
        """Start all and wait until they are ready. `order`: names, each with the seconds to let pass before it."""
        for name, pause_s in order or ((name, 0.0) for name in self.processes):
            await asyncio.sleep(pause_s)
            self.processes[name].spawn()
        ready = (asyncio.to_thread(process.wait_ready) for process in self.processes.values())
        await asyncio.gather(*ready)

    async def settled(self, patience_s: float = 30) -> None:
        """Wait until every process hears all that others push, and lets the bootstrap key in: it is ready before it
        has found all the others. Raises TimeoutError when one does not in time."""
        key = Options({"authorization": f"Bearer {self.key}"}, timeout=5)
        async with asyncio.timeout(patience_s):
            for service, call in _LETS_IN.items():
                for address in self.spec.addresses(service):
                    await _until_let_in(GrpcChannel(address), call, key)
            async with httpx2.AsyncClient() as http:
                for ops in (f"http://{member.ops}" for member in self.spec.members):
                    while _ALONE.search((await http.get(f"{ops}/metrics")).text):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)

    async def end(self) -> None:
        """End what still runs; metering last, since the others bring it their usage before they end."""
        metering = self.of("metering")
        others = [process for process in self.processes.values() if process not in metering]
        for together in (others, metering):
            await asyncio.gather(*(asyncio.to_thread(process.end, 15) for process in together))


_LETS_IN: Mapping[str, Callable[[GrpcChannel, Options], Awaitable[object]]] = {
    "auth": lambda channel, key: AuthClient(channel).list_keys(ListKeysRequest(), key),
    "registry": lambda channel, key: RegistryClient(channel).list_models(ListModelsRequest(), key),
    "metering": lambda channel, key: MeteringClient(channel).get_usage(GetUsageRequest(), key),
    "inference": lambda channel, key: InferenceClient(channel).check_caller(CheckCallerRequest(), key),
}


_ALONE = re.compile(r"^headgate_(leases_away 1|watch_connected\{[^}]*\} 0)", re.MULTILINE)


async def _until_let_in(
    channel: GrpcChannel, call: Callable[[GrpcChannel, Options], Awaitable[object]], key: Options
) -> None:
    try:
        while True:
            try:
                await call(channel, key)
                return
            except HeadgateError as away:
                if away.reason is not Reason.SERVICE_UNAVAILABLE:
                    raise
            await asyncio.sleep(0.05)
    finally:
        await channel.close()


@asynccontextmanager
async def running_cluster(spec: ClusterSpec) -> AsyncIterator[Cluster]:
    """A cluster for the length of a block, ready and settled; nothing of it is left afterwards."""
    cluster = spec.build()
    try:
        await cluster.start()
        await cluster.settled()
        yield cluster
    finally:
        await cluster.end()


def listens_of(group: tuple[str, ...]) -> dict[str, str]:
    """A free address for each service of a group that listens for gRPC."""
    return {name: _address() for name in services_of(group) if name in SERVICES}


def target_of(addresses: Iterable[str]) -> str:
    """The gRPC target of these addresses."""
    return "ipv4:" + ",".join(addresses)


def _address() -> str:
    return f"127.0.0.1:{free_port()}"
