"""The gate of a process: admission among its peers, with leases of its own."""

import asyncio
from pathlib import Path
from uuid import uuid4

from headgate.metering.v1.metering_pb2 import AcquireLeasesRequest, AcquireLeasesResponse
from headgate_admission.admission import Admission
from headgate_admission.built_in import BUILTIN_POLICIES, policy_message
from headgate_clients.auth import AuthClient
from headgate_clients.metering import MeteringClient
from headgate_clock import Clock
from headgate_hosting.peers import Peers
from headgate_leases import LeaseHolder
from headgate_rpc.watch_gauges import watch_gauges
from headgate_telemetry.metrics import Metrics


class Gate:
    """`admission` guards the host. Started after the control plane of this process and stopped before it: what is
    leased goes back to metering."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.admission = Admission(clock, map(policy_message, BUILTIN_POLICIES.values()))

    def connect(self, peers: Peers, metrics: Metrics, snapshots: Path) -> None:
        """Say where principals, policies and units come from; they need not be there yet. In the folder `snapshots`
        the policies of a metering in another process are kept."""
        self._metering = MeteringClient(peers.channel("metering"))
        # A new name at each start: what a killed process held returns to the limit when its lease ends.
        self._leases = LeaseHolder(str(uuid4()), self._acquire, self._clock)
        self.admission.connect(
            AuthClient(peers.channel("auth")),
            self._metering,
            self._leases,
            credentials=peers.thread_channel("auth"),
            snapshots=None if peers.are_here("metering") else snapshots,
        )
        watch_admission(metrics, self.admission, self._leases)
        watch_gauges(metrics, self.admission.watches)

    async def start(self) -> None:
        """Follow auth and metering."""
        self._sweeping = asyncio.create_task(self._leases.run(), name="leases-sweep")
        await self.admission.start()

    async def stop(self) -> None:
        """Follow no more, give the leases back."""
        await self.admission.stop()
        await self._leases.close()
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _acquire(self, request: AcquireLeasesRequest) -> AcquireLeasesResponse:
        return (await self._metering.acquire_leases(request)).message


def watch_admission(metrics: Metrics, admission: Admission, leases: LeaseHolder) -> None:
    """The two waits that a request may have before it runs (decisions.md 9)."""
    metrics.counter("headgate_admission_waits_total", "Calls that waited for auth.", lambda: admission.waits)
    metrics.counter("headgate_lease_waits_total", "Calls that waited for metering.", lambda: leases.waits)
    metrics.counter(
        "headgate_lease_fair_shares_total",
        "Calls admitted while metering did not answer.",
        lambda: leases.fair_shares,
    )
    metrics.gauge(
        "headgate_leases_away", "1 while metering does not answer lease requests.", lambda: leases.away
    )
