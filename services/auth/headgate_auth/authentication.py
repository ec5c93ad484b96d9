"""Who a credential stands for."""

import hmac

from headgate.watch.v1.watch_pb2 import Position
from headgate_admission.principal import Principal, networks
from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey, Status
from headgate_auth.errors import expired_key, invalid_key
from headgate_auth.last_used import LastUsed
from headgate_auth.store import Store
from headgate_clock import Clock
from headgate_credentials import digest, parse
from headgate_settings import Secret

# Compared with when the id is unknown, so that the answer takes as long as for a wrong secret.
_NO_DIGEST = bytes(32)


class Authenticator:
    """Resolves API keys. Noise is refused by its checksum and never reaches the store."""

    def __init__(self, store: Store, pepper: Secret, last_used: LastUsed, clock: Clock) -> None:
        self._store = store
        self._pepper = pepper
        self._last_used = last_used
        self._clock = clock

    async def authenticate(self, credential: str) -> tuple[Principal, Position]:
        """The principal, and a position of the watch that the answer is newer than.

        Raises INVALID_CREDENTIALS, or TOKEN_EXPIRED for the right key after its time.
        """
        parsed = parse(credential)
        if parsed is None:
            raise invalid_key()
        found = await self._store.find_key(parsed.id)
        expected = found[0].digest if found else _NO_DIGEST
        if not hmac.compare_digest(digest(credential, self._pepper), expected) or found is None:
            raise invalid_key()
        key, account, mark = found
        self._check_status(key)
        self._last_used.used(key.id)
        # Read in one moment with the key: whoever has seen a later change knows this answer to be too old,
        # whichever replica told them.
        return principal_of(key, account), Position(epoch=mark.epoch, version=mark.version)

    def _check_status(self, key: ApiKey) -> None:
        status = key.status(self._clock.wall_ms())
        if status is Status.REVOKED:
            raise invalid_key()
        if status is Status.EXPIRED:
            raise expired_key()


def principal_of(key: ApiKey, account: Account) -> Principal:
    """Who calls with this key."""
    return Principal(
        id=key.id,
        account_id=account.id,
        key_prefix=key.prefix,
        scopes=frozenset(key.scopes),
        models=frozenset(key.models),
        policy=key.plan_policy or account.plan,
        ip_allow_list=networks(key.ip_allow_list),
        account_ip_allow_list=networks(account.ip_allow_list),
        expires_at_ms=key.expires_at_ms,
    )
