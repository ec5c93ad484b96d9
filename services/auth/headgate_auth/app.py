"""Auth put together."""

import asyncio
import secrets
from collections.abc import Sequence

import structlog

from headgate_auth.accounts import Accounts
from headgate_auth.authentication import Authenticator
from headgate_auth.bootstrap import ensure_bootstrap, parse_bootstrap
from headgate_auth.invalidations import Invalidations
from headgate_auth.keys import Keys
from headgate_auth.last_used import LastUsed
from headgate_auth.servicer import AuthServicer
from headgate_auth.settings import AuthSettings
from headgate_auth.store import Store
from headgate_auth.stores.sql import SqlStore
from headgate_clock import Clock
from headgate_credentials import generate
from headgate_database import StoreAwayError, shared_or_own
from headgate_settings import Secret, SettingsError
from headgate_settings.secret_files import kept_secret

log = structlog.get_logger()

# How often a store that was away at the start is tried.
RETRY_S = 0.5


class AuthApp:
    """The service: add `servicer` to a host, start before serving, stop after. It serves while its store is away:
    what it cannot know it answers with SERVICE_UNAVAILABLE."""

    def __init__(
        self,
        servicer: AuthServicer,
        *,
        store: Store,
        invalidations: Invalidations,
        last_used: LastUsed,
        bootstrap_key: Secret,
        pepper: Secret,
        clock: Clock,
    ) -> None:
        self.servicer = servicer
        self.bootstrap_key = bootstrap_key
        self._store = store
        self._invalidations = invalidations
        self._last_used = last_used
        self._pepper = pepper
        self._clock = clock
        self._prepared = False
        self._tasks: list[asyncio.Task[None]] = []

    def failing(self) -> Sequence[str]:
        """What keeps auth from answering anything: its store could never be opened."""
        return () if self._prepared else ("database",)

    async def start(self) -> None:
        """Makes the first account and key, and begins to follow other replicas and to write uses; all of it later
        when the store is away. Raises SettingsError."""
        parse_bootstrap(self.bootstrap_key)
        try:
            await self._prepare()
        except StoreAwayError:
            self._tasks.append(asyncio.create_task(self._prepare_later()))
        self._tasks.append(asyncio.create_task(self._invalidations.run()))
        self._tasks.append(asyncio.create_task(self._last_used.run()))

    async def _prepare(self) -> None:
        await ensure_bootstrap(self._store, self.bootstrap_key, self._pepper, self._clock)
        await self._invalidations.catch_up()
        self._prepared = True

    async def _prepare_later(self) -> None:
        while not self._prepared:
            await asyncio.sleep(RETRY_S)
            try:
                await self._prepare()
            except StoreAwayError:
                continue
            except SettingsError as error:
                log.error("auth cannot be used", error=str(error))

    async def stop(self) -> None:
        """Writes what is pending and closes the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._last_used.flush()
        except StoreAwayError:
            log.warning("last uses of keys not written: the store is away")
        await self._store.close()


def build(settings: AuthSettings, clock: Clock, store: Store | None = None) -> AuthApp:
    """Auth with these settings, over PostgreSQL or its own SQLite file in the data folder unless a store is given.

    Blocks while it opens files and connections. Raises StoreError, SettingsError.
    """
    if settings.database_url:
        _check_shared(settings)
    pepper = settings.pepper or kept_secret(settings.data / "pepper", lambda: Secret(secrets.token_hex(32)))
    bootstrap_key = settings.bootstrap_key or kept_secret(
        settings.data / "bootstrap-key", lambda: generate().text
    )
    store = store or SqlStore.open(
        shared_or_own(settings.database_url, settings.data / "auth.sqlite3"), settings.database_timeout
    )
    invalidations = Invalidations(store)
    last_used = LastUsed(store, clock)
    servicer = AuthServicer(
        accounts=Accounts(store, clock),
        keys=Keys(store, pepper, invalidations, last_used, clock),
        authenticator=Authenticator(store, pepper, last_used, clock),
        invalidations=invalidations,
        clock=clock,
    )
    return AuthApp(
        servicer,
        store=store,
        invalidations=invalidations,
        last_used=last_used,
        bootstrap_key=bootstrap_key,
        pepper=pepper,
        clock=clock,
    )


def _check_shared(settings: AuthSettings) -> None:
    """What replicas must have in common cannot be made by each for itself, and a pepper does not belong into the
    database whose hashes it protects. Raises SettingsError."""
    secrets_of = {
        "HEADGATE_AUTH_PEPPER": settings.pepper,
        "HEADGATE_BOOTSTRAP_KEY": settings.bootstrap_key,
    }
    why = "must be set, and the same for every replica, when HEADGATE_DATABASE_URL is"
    missing = [f"{name}: {why}" for name, secret in secrets_of.items() if not secret]
    if missing:
        raise SettingsError(missing)
