"""Auth put together."""

import asyncio
import secrets

from headgate_auth.accounts import Accounts
from headgate_auth.authentication import Authenticator
from headgate_auth.bootstrap import ensure_bootstrap
from headgate_auth.invalidations import Invalidations
from headgate_auth.keys import Keys
from headgate_auth.last_used import LastUsed
from headgate_auth.secret_files import kept_secret
from headgate_auth.servicer import AuthServicer
from headgate_auth.settings import AuthSettings
from headgate_auth.store import Store
from headgate_auth.stores.sql import SqlStore
from headgate_clock import Clock
from headgate_credentials import generate
from headgate_settings import Secret


class AuthApp:
    """The service: add `servicer` to a host, start before serving, stop after."""

    def __init__(
        self,
        servicer: AuthServicer,
        *,
        store: Store,
        last_used: LastUsed,
        bootstrap_key: Secret,
        pepper: Secret,
        clock: Clock,
    ) -> None:
        self.servicer = servicer
        self.bootstrap_key = bootstrap_key
        self._store = store
        self._last_used = last_used
        self._pepper = pepper
        self._clock = clock
        self._flusher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Makes the first account and key, and begins to write uses. Raises SettingsError."""
        await ensure_bootstrap(self._store, self.bootstrap_key, self._pepper, self._clock)
        self._flusher = asyncio.create_task(self._last_used.run())

    async def stop(self) -> None:
        """Writes what is pending and closes the store."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait([self._flusher])
            await self._last_used.flush()
        await self._store.close()


def build(settings: AuthSettings, clock: Clock, store: Store | None = None) -> AuthApp:
    """Auth with these settings; its own SQLite file in the data folder unless a store is given.

    Blocks while it opens files. Raises StoreError.
    """
    pepper = settings.pepper or kept_secret(settings.data / "pepper", lambda: Secret(secrets.token_hex(32)))
    bootstrap_key = settings.bootstrap_key or kept_secret(
        settings.data / "bootstrap-key", lambda: generate().text
    )
    store = store or SqlStore.open(settings.data / "auth.sqlite3")
    invalidations = Invalidations()
    last_used = LastUsed(store, clock)
    servicer = AuthServicer(
        accounts=Accounts(store, clock),
        keys=Keys(store, pepper, invalidations, last_used, clock),
        authenticator=Authenticator(store, pepper, invalidations, last_used, clock),
        invalidations=invalidations,
        clock=clock,
    )
    return AuthApp(
        servicer, store=store, last_used=last_used, bootstrap_key=bootstrap_key, pepper=pepper, clock=clock
    )
