"""When each key was last used, written a batch at a time."""

import asyncio
from dataclasses import replace

import structlog

from headgate_auth.api_key import ApiKey
from headgate_auth.store import Store
from headgate_clock import Clock

log = structlog.get_logger()

FLUSH_S = 60.0


class LastUsed:
    """Remembers the uses that auth hears of and writes them once a minute.

    Auth hears of a key when a process that does not know it asks who it is, and then about once a minute from
    each process that still sees it used (admission renews what it remembers). So the moment is right to
    about a minute, and no request costs a write; a crash loses the last minute.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._pending: dict[str, int] = {}

    def used(self, key_id: str) -> None:
        """The key was used now."""
        self._pending[key_id] = self._clock.wall_ms()

    def fresh(self, key: ApiKey) -> ApiKey:
        """The key with the uses that are not written yet."""
        moment = max(key.last_used_at_ms, self._pending.get(key.id, 0))
        return replace(key, last_used_at_ms=moment)

    async def flush(self) -> None:
        """Writes what is pending, in one transaction."""
        pending, self._pending = self._pending, {}
        try:
            await self._store.touch_keys(pending)
        except BaseException:
            self._pending = {**pending, **self._pending}
            raise

    async def run(self) -> None:
        """Flush every minute until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except Exception:
                log.exception("last uses of keys not written")
