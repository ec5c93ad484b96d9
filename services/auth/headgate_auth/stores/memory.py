"""The store in memory: the twin that shows what the protocol means."""

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.invalidation import KEPT, Invalidation, Log, Mark
from headgate_auth.store import DuplicateError


class MemoryStore:
    """Keeps everything until the process ends."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, ApiKey] = {}
        self._by_public_id: dict[str, str] = {}
        self._end = Mark(uuid.uuid4().hex, 1)
        self._log: deque[Invalidation] = deque(maxlen=KEPT)

    async def add_account(self, account: Account) -> None:
        """Store.add_account."""
        if account.id in self._accounts:
            raise DuplicateError(account.id)
        self._accounts[account.id] = account

    async def account(self, account_id: str) -> Account | None:
        """Store.account."""
        return self._accounts.get(account_id)

    async def accounts(self) -> list[Account]:
        """Store.accounts."""
        return sorted(self._accounts.values(), key=lambda account: (account.created_at_ms, account.id))

    async def add_key(self, key: ApiKey) -> None:
        """Store.add_key."""
        if key.id in self._keys:
            raise DuplicateError(key.id)
        await self.replace_key(key)

    async def replace_key(self, key: ApiKey) -> None:
        """Store.replace_key."""
        if self._by_public_id.get(key.public_id, key.id) != key.id:
            raise DuplicateError(key.public_id)
        old = self._keys.get(key.id)
        if old is not None:
            if old.digest == key.digest:
                return
            del self._by_public_id[old.public_id]
            self._forget(f"principal/{key.id}")
        self._keys[key.id] = key
        self._by_public_id[key.public_id] = key.id

    async def key(self, key_id: str) -> ApiKey | None:
        """Store.key."""
        return self._keys.get(key_id)

    async def find_key(self, public_id: str) -> tuple[ApiKey, Account, Mark] | None:
        """Store.find_key."""
        key_id = self._by_public_id.get(public_id)
        if key_id is None:
            return None
        key = self._keys[key_id]
        return key, self._accounts[key.account_id], self._end

    async def keys(self, account_id: str) -> list[ApiKey]:
        """Store.keys."""
        keys = [key for key in self._keys.values() if key.account_id == account_id]
        return sorted(keys, key=lambda key: (-key.created_at_ms, key.id))

    async def revoke_key(self, key_id: str, now_ms: int) -> bool:
        """Store.revoke_key."""
        key = self._keys.get(key_id)
        if key is None or key.revoked_at_ms:
            return False
        self._keys[key_id] = replace(key, revoked_at_ms=now_ms)
        self._forget(f"principal/{key_id}")
        return True

    async def invalidations(self, after: int) -> Log:
        """Store.invalidations."""
        return Log(self._end, tuple(change for change in self._log if change.version > after))

    def listen(self, wake: Callable[[], None]) -> bool:
        """Store.listen: nobody else has this memory."""
        return False

    async def touch_keys(self, used_at_ms: Mapping[str, int]) -> None:
        """Store.touch_keys."""
        for key_id, moment in used_at_ms.items():
            key = self._keys.get(key_id)
            if key is not None and key.last_used_at_ms < moment:
                self._keys[key_id] = replace(key, last_used_at_ms=moment)

    async def close(self) -> None:
        """Store.close."""

    def _forget(self, name: str) -> None:
        self._end = Mark(self._end.epoch, self._end.version + 1)
        self._log.append(Invalidation(self._end.version, name))
