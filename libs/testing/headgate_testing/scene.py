"""What every fault test plays on: a cluster in front of a scripted provider, known keys, steady calls, and the
judgement of the bill afterwards."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2

from headgate_clients.metering import MeteringClient
from headgate_rpc.channel import Options
from headgate_rpc.errors import HeadgateError
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_settings import environment
from headgate_testing.bill import Received, all_records, faults_of
from headgate_testing.cluster import Cluster, ClusterSpec, running_cluster
from headgate_testing.provider import Script, ScriptedProvider
from headgate_testing.traffic import Caller, Traffic

FULL = environment().get("HEADGATE_FAULTS") == "full"
"""Whether full counts and the goals' own bounds are wanted; else small counts and five times the bounds."""

CONFIG = """
providers:
  - {{name: scripted, type: openai, base_url: "{url}"}}
  - {{name: patient, type: openai, base_url: "{url}", timeout: {{first_token: 1m, idle: 10m, total: 20m}}}}
models:
  - {{id: fast, provider: scripted}}
  - {{id: slow, provider: scripted}}
  - {{id: idle, provider: patient}}
  - {{id: long, provider: patient}}
"""

SLOW = Script(tokens=["word "] * 30, pause=0.005)
BILL_PATIENCE_S = 30.0


def count(small: int, full: int) -> int:
    """How many: `small` in the gate, `full` in `make faults`."""
    return full if FULL else small


def bound(goal: float) -> float:
    """What is asserted for a goal."""
    return goal if FULL else 5 * goal


@dataclass
class Scene:
    """A running cluster and what is around it."""

    cluster: Cluster
    provider: ScriptedProvider
    keys: list[str] = field(default_factory=list)
    _from_ms: int = 0

    @property
    def port(self) -> int:
        """Of the REST API."""
        return int(self.cluster.url.rpartition(":")[2])

    async def know_keys(self, number: int) -> None:
        """Make keys and use each once, so that they are known everywhere."""
        headers = {"authorization": f"Bearer {self.cluster.key}"}
        async with httpx2.AsyncClient(base_url=self.cluster.url, headers=headers, timeout=30) as http:
            for place in range(number):
                body = {"name": f"known-{place}", "scopes": ["inference"], "plan_policy": "enterprise"}
                made = await http.post("/v1/keys", json=body)
                self.keys.append(made.raise_for_status().json()["key"])
        await self.use_keys()

    async def use_keys(self) -> None:
        """A few calls with each key, enough that every replica has seen it."""
        async with self.traffic(rate=500).flowing() as traffic:
            await traffic.until(8 * len(self.keys))

    def traffic(self, rate: float = 150.0, streams: float = 0.2) -> Traffic:
        """Calls with the known keys. What is billed from now on is what `unbilled` looks at."""
        self._from_ms = int(time.time() * 1000)
        self.provider.requests.clear()
        return Traffic(self.port, self.keys or [self.cluster.key], rate, streams=streams)

    async def back_to_normal(self, patience_s: float = 30.0) -> float:
        """Wait until a new key can be made, used and found in the usage; returns the seconds that took. Raises
        TimeoutError when it does not come about."""
        began = time.monotonic()
        headers = {"authorization": f"Bearer {self.cluster.key}"}
        async with (
            asyncio.timeout(patience_s),
            httpx2.AsyncClient(base_url=self.cluster.url, headers=headers, timeout=10) as http,
        ):
            while not await self._works(http):  # noqa: ASYNC110 - another process tells no event
                await asyncio.sleep(0.1)
        return time.monotonic() - began

    async def _works(self, http: httpx2.AsyncClient) -> bool:
        body = {"name": "new", "scopes": ["inference"], "plan_policy": "enterprise"}
        made = await http.post("/v1/keys", json=body)
        if made.status_code != 200 or (await http.get("/v1/usage")).status_code != 200:
            return False
        caller = Caller(self.port, made.json()["key"])
        answer = await caller.call("fast")
        await caller.close()
        return answer.completed

    async def unbilled(self, received: Sequence[Received], patience_s: float = BILL_PATIENCE_S) -> list[str]:
        """What is wrong with the bill of these calls, in words, once it has had its time."""
        emitted: Counter[str] = Counter()
        for request in self.provider.requests:
            emitted[request.headers.get("x-request-id", "")] += request.emitted
        channel = GrpcChannel(self.cluster.target("metering"))
        metering = MeteringClient(channel)
        options = Options({"authorization": f"Bearer {self.cluster.key}"}, timeout=5)
        faults = ["not looked"]
        deadline = time.monotonic() + patience_s
        while faults and time.monotonic() < deadline:
            try:
                records = await all_records(metering, options, self._from_ms)
                faults = faults_of(received, emitted, records)
            except HeadgateError as away:
                faults = [f"no records: {away}"]
            await asyncio.sleep(0.3 if faults else 0)
        await channel.close()
        return faults


@asynccontextmanager
async def scene(spec: ClusterSpec, known_keys: int = 8) -> AsyncIterator[Scene]:
    """A scene for the length of the block; the config of `spec` is set here."""
    async with ScriptedProvider() as provider:
        provider.on("slow", SLOW)
        spec.config = CONFIG.format(url=provider.base_url)
        async with running_cluster(spec) as cluster:
            found = Scene(cluster, provider)
            await found.back_to_normal()
            await found.know_keys(known_keys)
            yield found
