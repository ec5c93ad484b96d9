"""Builds metering: the one place that names its stores."""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from headgate_admission.built_in import policy_message
from headgate_clock import Clock
from headgate_database import StoreAwayError, StoreError
from headgate_metering.leasing import Leasing
from headgate_metering.ledger import Ledger
from headgate_metering.policies import Limits, effective_policies
from headgate_metering.servicer import MeteringServicer
from headgate_metering.settings import MeteringSettings
from headgate_metering.steady_time import SteadyTime
from headgate_metering.store import LeaseStore, LedgerStore
from headgate_metering.stores.sql_leases import SqlLeaseStore
from headgate_metering.stores.sql_ledger import SqlLedgerStore
from headgate_metering.sweeper import Sweeper
from headgate_metering.usage import Period, UsageQuery, month_of
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
        self._ledger = stores[0]
        self._prepared: Period | None = None
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
            try:
                await self.upkeep()
            except StoreAwayError:  # the store has logged it; it may be there next time
                pass
            except SQLAlchemyError as fault:
                log.error("metering upkeep failed", exc_info=fault)
            await asyncio.sleep(self._sweep_interval_s)

    async def upkeep(self) -> None:
        """One round: make room for coming calls, settle the calls of silent producers, forget idle limits. Raises
        StoreAwayError."""
        month = month_of(self.servicer.clock.wall_ms())
        if month != self._prepared:
            await self._ledger.prepare(month.start_ms)
            self._prepared = month
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
    """Metering under `config_file`, which has been read and whose later changes it follows; over the stores
    of the settings unless stores are given.

    Blocks while it opens files. Raises StoreError, ConfigError.
    """
    policies = effective_policies(config_file.current)
    ledger, leases = stores or (_open_ledger(settings), _open_leases(settings, clock))
    servicer = MeteringServicer(
        leasing=Leasing(leases, Limits(policies.values())),
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


def _open_ledger(settings: MeteringSettings) -> LedgerStore:
    location = settings.database_url or settings.data / "metering.sqlite3"
    return SqlLedgerStore.open(location, timeout_s=settings.database_timeout)


def _open_leases(settings: MeteringSettings, clock: Clock) -> LeaseStore:
    if settings.redis_url:
        # Only who uses Redis pays for its driver, which is an optional dependency.
        try:
            from headgate_metering.stores.redis_leases import RedisLeaseStore  # noqa: PLC0415
        except ImportError as error:
            raise StoreError("Redis needs its driver: install headgate[redis].") from error
        return RedisLeaseStore.open(settings.redis_url, clock)
    if settings.database_url:
        return SqlLeaseStore.open(settings.database_url, timeout_s=settings.database_timeout)
    # A file of its own: the ledger waits for the disk at each commit, leases need not (decisions.md 6).
    return SqlLeaseStore.open(settings.data / "leases.sqlite3", SteadyTime(clock))
