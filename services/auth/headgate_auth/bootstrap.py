"""The first account and the key that everything else is made with."""

from headgate_admission.scopes import SCOPES
from headgate_auth.account import Account
from headgate_auth.api_key import ApiKey
from headgate_auth.store import DuplicateError, Store
from headgate_clock import Clock
from headgate_credentials import ParsedKey, digest, parse
from headgate_settings import Secret, SettingsError

MAIN_ACCOUNT = "acct_main"
BOOTSTRAP_KEY = "key_bootstrap"
PLAN = "enterprise"


_OTHER_PEPPER = (
    "HEADGATE_AUTH_PEPPER: *** is not the one that the keys of this store were made with; "
    "to begin anew with another one, give another HEADGATE_BOOTSTRAP_KEY too"
)


def parse_bootstrap(text: Secret) -> ParsedKey:
    """The parts of the key. Raises SettingsError when it is none."""
    parsed = parse(text.reveal())
    if parsed is None:
        raise SettingsError(
            ["HEADGATE_BOOTSTRAP_KEY: *** is not an API key; make one with `headgate keys generate`"]
        )
    return parsed


async def ensure_bootstrap(store: Store, text: Secret, pepper: Secret, clock: Clock) -> None:
    """Makes the account `acct_main` and gives its key `key_bootstrap` this text; the text before it ends.
    Replicas that do so together end up with the same.

    A bootstrap key that was revoked stays so until it gets another text. Raises StoreAwayError, and SettingsError
    when the text is no key, or another one's, or was hashed under another pepper: this replica would answer to
    every good key that it is wrong.
    """
    parsed = parse_bootstrap(text)
    digested = digest(text.reveal(), pepper)
    present = await store.key(BOOTSTRAP_KEY)
    if present is not None and present.public_id == parsed.id and present.digest != digested:
        raise SettingsError([_OTHER_PEPPER])
    await _ensure_account(store, clock)
    key = ApiKey(
        id=BOOTSTRAP_KEY,
        account_id=MAIN_ACCOUNT,
        name="bootstrap",
        public_id=parsed.id,
        digest=digested,
        scopes=tuple(sorted(SCOPES)),
        models=(),
        plan_policy=PLAN,
        ip_allow_list=(),
        created_at_ms=clock.wall_ms(),
    )
    try:
        await store.replace_key(key)
    except DuplicateError:
        raise SettingsError(["HEADGATE_BOOTSTRAP_KEY: *** is already another key of this store"]) from None


async def _ensure_account(store: Store, clock: Clock) -> None:
    if await store.account(MAIN_ACCOUNT) is None:
        try:
            await store.add_account(Account(MAIN_ACCOUNT, "main", PLAN, clock.wall_ms()))
        except DuplicateError:
            return  # another replica was faster
