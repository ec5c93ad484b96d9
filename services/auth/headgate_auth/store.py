"""What auth keeps, whatever keeps it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.invalidation import Log, Mark


class DuplicateError(Exception):
    """An id that is taken."""


class Store(Protocol):
    """Accounts and keys, and the log of what must be forgotten elsewhere: an entry of it is committed together with
    the change that it tells of. A write has happened for good when its call returns.

    Every method may raise StoreAwayError when it cannot be known what is stored.
    """

    async def add_account(self, account: Account) -> None:
        """Raises DuplicateError when the id is taken."""

    async def account(self, account_id: str) -> Account | None:
        """The account, None when there is none."""

    async def accounts(self) -> list[Account]:
        """All accounts, oldest first, then by id."""

    async def add_key(self, key: ApiKey) -> None:
        """Raises DuplicateError when the id or the public id is taken."""

    async def replace_key(self, key: ApiKey) -> None:
        """Puts the key in the place of the one with its id, which must be forgotten, or adds it; changes nothing
        when that one has the same digest. Raises DuplicateError when another key has the public id."""

    async def key(self, key_id: str) -> ApiKey | None:
        """The key by its id, None when there is none."""

    async def find_key(self, public_id: str) -> tuple[ApiKey, Account, Mark] | None:
        """The key by the id inside its text, with its account and the end of the log at that very moment; None
        when there is none."""

    async def keys(self, account_id: str) -> list[ApiKey]:
        """The keys of an account, newest first, then by id."""

    async def revoke_key(self, key_id: str, now_ms: int) -> bool:
        """Ends the key, which must be forgotten; False when it had ended before or does not exist."""

    async def invalidations(self, after: int) -> Log:
        """The log after a version."""

    def listen(self, wake: Callable[[], None]) -> bool:
        """Calls `wake`, on any thread, when another process has added to the log. False when none can."""

    async def touch_keys(self, used_at_ms: Mapping[str, int]) -> None:
        """Moves `last_used_at_ms` of these keys forward; never back. Unknown ids are passed over."""

    async def close(self) -> None:
        """Gives up what is held open. Idempotent."""
