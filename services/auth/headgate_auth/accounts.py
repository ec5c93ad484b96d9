"""Makes and lists accounts."""

from headgate_auth.account import Account
from headgate_auth.ids import new_id
from headgate_auth.store import Store
from headgate_auth.validation import check_name, check_policy
from headgate_clock import Clock

DEFAULT_PLAN = "free"


class Accounts:
    """Makes and lists accounts; only an operator gets here."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, name: str, plan: str) -> Account:
        """A new account; an empty plan means `free`. Raises INVALID_REQUEST."""
        account = Account(
            id=new_id("acct"),
            name=check_name(name),
            plan=check_policy(plan, "plan") or DEFAULT_PLAN,
            created_at_ms=self._clock.wall_ms(),
        )
        await self._store.add_account(account)
        return account

    async def list(self) -> list[Account]:
        """All accounts, oldest first."""
        return await self._store.accounts()
