"""Builds metering: the one place that names its stores."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from headgate_clock import Clock
from headgate_metering.leasing import Leasing
from headgate_metering.ledger import Ledger
from headgate_metering.policies import Limits, effective_policies
from headgate_metering.servicer import MeteringServicer
from headgate_metering.settings import MeteringSettings
from headgate_metering.store import LeaseStore, LedgerStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore
from headgate_metering.sweeper import Sweeper
from headgate_metering.usage import UsageQuery
from headgate_metering.wire import policy_message
from headgate_rpc.watch import WatchSource
from headgate_settings.config import Config, ConfigFile

log = structlog.get_logger()


class MeteringApp:
    """Metering, built. `start` begins the upkeep; `stop` ends it and closes the stores."""

    def __init__(
        self,
        servicer: MeteringServicer,
        stores: tuple[LedgerStore, LeaseStore],
        sweeper: Sweeper,
        sweep_interval_s: float,
    ) -> None:
        self.servicer = servicer
        self._stores = stores
        self._sweeper = sweeper
        self._sweep_interval_s = sweep_interval_s
        self._upkeep: asyncio.Task[None] | None = None

    def apply(self, config: Config) -> None:
        """Put the config's policies into force and tell the followers. Raises ConfigError."""
        policies = effective_policies(config)
        self.servicer.leasing.limits = Limits(policies.values())
        self.servicer.policies.replace({name: policy_message(each) for name, each in policies.items()})

    async def start(self) -> None:
        """Begin the upkeep."""
        self._upkeep = asyncio.create_task(self._keep_up(), name="metering-upkeep")

    async def stop(self) -> None:
        """End the upkeep and close the stores: what was queued is committed. Idempotent."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])
            self._upkeep = None
        for store in self._stores:
            await store.close()

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_interval_s)
            try:
                await self.upkeep()
            except SQLAlchemyError as fault:  # a store in trouble now may be well next time
                log.error("metering upkeep failed", exc_info=fault)

    async def upkeep(self) -> None:
        """One round: settle the calls of silent producers, forget idle limits."""
        swept = await self._sweeper.sweep()
        if swept:
            log.warning("calls of silent processes were settled", calls=swept)
        await self.servicer.leasing.forget_idle()


def build(
    settings: MeteringSettings,
    config_file: ConfigFile,
    clock: Clock,
    stores: tuple[LedgerStore, LeaseStore] | None = None,
) -> MeteringApp:
    """Metering under `config_file`, which has been read and whose later changes it follows; over its own SQLite
    files in the data folder unless stores are given.

    Blocks while it opens files. Raises StoreError, ConfigError.
    """
    policies = effective_policies(config_file.current)
    ledger, leases = stores or _open_stores(settings)
    servicer = MeteringServicer(
        leasing=Leasing(leases, Limits(policies.values()), clock),
        ledger=Ledger(ledger),
        usage=UsageQuery(ledger, clock),
        policies=WatchSource(),
        clock=clock,
    )
    sweeper = Sweeper(ledger, clock, settings.silence)
    app = MeteringApp(servicer, (ledger, leases), sweeper, settings.sweep_interval)
    app.apply(config_file.current)
    config_file.subscribe(app.apply, check=check_policies)
    return app


def check_policies(config: Config) -> None:
    """Raises ConfigError for policies that cannot be used."""
    effective_policies(config)


def _open_stores(settings: MeteringSettings) -> tuple[LedgerStore, LeaseStore]:
    # Two files: the ledger waits for the disk at each commit, leases need not (decisions.md 6).
    ledger = SqlLedgerStore.open(settings.data / "metering.sqlite3")
    return ledger, SqlLeaseStore.open(settings.data / "leases.sqlite3")
