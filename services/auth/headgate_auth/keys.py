"""API keys: made, listed and ended by those who may."""

from dataclasses import dataclass

from headgate_admission.principal import Principal
from headgate_admission.scopes import OPERATOR, allows
from headgate_auth.api_key import ApiKey
from headgate_auth.errors import forbidden, no_such_account, no_such_key
from headgate_auth.ids import new_id
from headgate_auth.invalidations import Invalidations
from headgate_auth.last_used import LastUsed
from headgate_auth.store import Store
from headgate_auth.validation import (
    check_expiry,
    check_models,
    check_name,
    check_policy,
    check_ranges,
    check_scopes,
)
from headgate_clock import Clock
from headgate_credentials import digest, generate
from headgate_settings import Secret

DEFAULT_SCOPES = ("inference", "models:read", "usage:read")
DEFAULT_POLICY = "standard"


@dataclass(frozen=True, slots=True)
class KeyWish:
    """The key wanted, unchecked. Empty `scopes` means the usual ones, empty `account_id` the creator's own;
    the rest as in ApiKey."""

    name: str
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    plan_policy: str = ""
    ip_allow_list: tuple[str, ...] = ()
    expires_at_ms: int = 0
    account_id: str = ""


class Keys:
    """Nobody makes a key that may do more than their own, and nobody sees another account's keys."""

    def __init__(
        self, store: Store, pepper: Secret, invalidations: Invalidations, last_used: LastUsed, clock: Clock
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._invalidations = invalidations
        self._last_used = last_used
        self._clock = clock

    async def create(self, creator: Principal, wish: KeyWish, default_policy: str) -> tuple[ApiKey, Secret]:
        """A new key and its text, which is kept nowhere. Raises INVALID_REQUEST, FORBIDDEN, NOT_FOUND."""
        now_ms = self._clock.wall_ms()
        account_id = await self._account_for(creator, wish.account_id)
        generated = generate()
        key = ApiKey(
            id=new_id("key"),
            account_id=account_id,
            name=check_name(wish.name),
            public_id=generated.id,
            digest=digest(generated.text.reveal(), self._pepper),
            scopes=_granted_scopes(creator, check_scopes(wish.scopes or DEFAULT_SCOPES)),
            models=_granted_models(creator, check_models(wish.models)),
            plan_policy=_granted_policy(
                creator, check_policy(wish.plan_policy, "plan_policy"), default_policy
            ),
            ip_allow_list=check_ranges(wish.ip_allow_list),
            created_at_ms=now_ms,
            expires_at_ms=check_expiry(wish.expires_at_ms, now_ms),
        )
        await self._store.add_key(key)
        return key, generated.text

    async def list(self, caller: Principal, account_id: str) -> list[ApiKey]:
        """The keys of an account, newest first; empty means the caller's own. Raises NOT_FOUND."""
        keys = await self._store.keys(await self._account_for(caller, account_id))
        return [self._last_used.fresh(key) for key in keys]

    async def revoke(self, caller: Principal, key_id: str) -> None:
        """Ends a key everywhere; once it has ended this changes nothing. Raises NOT_FOUND."""
        key = await self._store.key(key_id)
        if key is None or not _may_see(caller, key.account_id):
            raise no_such_key()
        await self._store.revoke_key(key_id, self._clock.wall_ms())
        await self._invalidations.catch_up()

    async def _account_for(self, caller: Principal, account_id: str) -> str:
        if not account_id or account_id == caller.account_id:
            return caller.account_id
        if not _may_see(caller, account_id) or await self._store.account(account_id) is None:
            raise no_such_account()
        return account_id


def _may_see(caller: Principal, account_id: str) -> bool:
    return account_id == caller.account_id or OPERATOR in caller.scopes


def _granted_scopes(creator: Principal, scopes: tuple[str, ...]) -> tuple[str, ...]:
    lacking = [scope for scope in scopes if not allows(creator.scopes, scope)]
    if lacking:
        raise forbidden(f"Your key lacks the scopes {', '.join(lacking)}, so it cannot give them to another.")
    return scopes


def _granted_models(creator: Principal, models: tuple[str, ...]) -> tuple[str, ...]:
    if creator.models and not (models and creator.models.issuperset(models)):
        raise forbidden("Your key is restricted to some models; a key it makes must be restricted to these.")
    return models


def _granted_policy(creator: Principal, policy: str, default_policy: str) -> str:
    # Otherwise anyone with `keys` could make themselves a key without limits.
    if policy and policy not in (DEFAULT_POLICY, creator.policy) and OPERATOR not in creator.scopes:
        raise forbidden("Only an operator may give a key another rate policy than your own or 'standard'.")
    return policy or default_policy
