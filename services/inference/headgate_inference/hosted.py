"""Inference, as a process hosts it: the service with its journal, and the sending of usage to metering."""

import asyncio

from headgate.inference.v1 import inference_pb2
from headgate.metering.v1.metering_pb2 import RecordUsageRequest
from headgate_clients.metering import MeteringClient
from headgate_clients.registry import RegistryClient
from headgate_clients.routing import RoutingClient
from headgate_hosting.service import Hosted, Service, Site
from headgate_inference.app import build
from headgate_inference.gauges import watch_catalogue, watch_journal
from headgate_inference.settings import InferenceSettings
from headgate_journal import Journal, JournalError, Shipper, ShipperLimits
from headgate_rpc.watch_gauges import watch_gauges

# Large batches halve what the ledger costs; a finished call still shows well within 2 s (USE-4).
SHIP_EVERY_S = 0.1

# A metering that starts at the same time is there by then; without one inference serves by the built-in policies.
POLICIES_WAIT_S = 4.0


class UsageJournal:
    """An open journal and what brings it to metering: begins before the first call, ends after the last one."""

    def __init__(self, journal: Journal, shipper: Shipper) -> None:
        self._journal = journal
        self._shipper = shipper

    async def start(self) -> None:
        """Begin to send."""
        self._shipping = asyncio.create_task(self._shipper.run(), name="usage")

    async def stop(self) -> None:
        """Send what is left, for 5 s at most, and close the journal; the rest is sent after the next start."""
        await self._shipper.close()
        self._shipping.cancel()
        await asyncio.gather(self._shipping, return_exceptions=True)
        self._journal.close()


def _host(site: Site) -> Hosted:
    settings, peers = site.settings.of(InferenceSettings), site.peers
    metering = MeteringClient(peers.channel("metering"))

    async def record(request: RecordUsageRequest) -> None:
        await metering.record_usage(request)

    journal = Journal.open(site.data / "journal", clock=site.clock, sync=settings.journal_sync)
    shipper = Shipper(journal, record, site.clock, ShipperLimits(interval_s=SHIP_EVERY_S))
    app = build(
        settings,
        registry=RegistryClient(peers.channel("registry")),
        routing=RoutingClient(peers.channel("routing")),
        admission=site.admission,
        journal=journal,
        config_file=site.config_file,
        clock=site.clock,
        snapshots=None if peers.are_here("registry", "routing") else site.snapshots,
    )

    async def arrived() -> None:
        await app.arrived()
        await site.admission.policies_arrived(POLICIES_WAIT_S)

    watch_journal(site.telemetry.metrics, journal, shipper)
    watch_catalogue(site.telemetry.metrics, app)
    watch_gauges(site.telemetry.metrics, app.watches)
    return Hosted(
        app.servicer,
        [UsageJournal(journal, shipper), app],
        arrived=arrived,
        failing=lambda: () if journal.accepts_calls else ("journal",),
    )


SERVICE = Service(
    name="inference",
    contract=inference_pb2.DESCRIPTOR.services_by_name["InferenceService"],
    settings=(InferenceSettings,),
    host=_host,
    faults=(JournalError,),
)
