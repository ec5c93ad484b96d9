"""Who may make which key, who sees it, and when it ends."""

import pytest

from headgate_admission.principal import Principal
from headgate_auth.account import Account
from headgate_auth.api_key import Status
from headgate_auth.authentication import Authenticator
from headgate_auth.invalidations import Invalidations
from headgate_auth.keys import Keys, KeyWish
from headgate_auth.last_used import LastUsed
from headgate_auth.stores.memory import MemoryStore
from headgate_rpc.errors import HeadgateError, Reason
from headgate_settings import Secret
from headgate_testing.clock import FakeClock


def principal(*scopes: str, account: str = "acct_a", models: tuple[str, ...] = ()) -> Principal:
    return Principal("key_creator", account, "sk-hg-x", frozenset(scopes), frozenset(models), "free")


class House:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.invalidations = Invalidations(self.store)
        self.last_used = LastUsed(self.store, self.clock)
        pepper = Secret("pepper")
        self.keys = Keys(self.store, pepper, self.invalidations, self.last_used, self.clock)
        self.authenticator = Authenticator(self.store, pepper, self.last_used, self.clock)


@pytest.fixture
async def house() -> House:
    built = House()
    await built.store.add_account(Account("acct_a", "alice", "free", 1))
    await built.store.add_account(Account("acct_b", "bob", "pro", 2, ("10.0.0.0/8",)))
    return built


OWNER = principal("inference", "models:read", "usage:read", "keys")
OPERATOR = principal("operator", account="acct_main")


async def refused(awaitable) -> HeadgateError:
    with pytest.raises(HeadgateError) as refusal:
        await awaitable
    return refusal.value


async def test_a_made_key_authenticates_as_what_was_asked_for(house: House) -> None:
    wish = KeyWish(
        "  ci ", ("inference",), ("m1",), "", ("10.1.0.0/16", "192.0.2.7"), house.clock.wall_ms() + 1000
    )
    key, text = await house.keys.create(OWNER, wish, "standard")
    found, _ = await house.authenticator.authenticate(text.reveal())
    assert (key.name, key.account_id, key.plan_policy) == ("ci", "acct_a", "standard")
    assert key.ip_allow_list == ("10.1.0.0/16", "192.0.2.7/32")
    assert (found.id, found.account_id, found.policy) == (key.id, "acct_a", "standard")
    assert found.scopes == {"inference"}
    assert found.models == {"m1"}
    assert [str(n) for n in found.ip_allow_list] == list(key.ip_allow_list)
    assert found.key_prefix == key.prefix == text.reveal().partition("_")[0]
    assert found.expires_at_ms == key.expires_at_ms


async def test_the_key_text_is_kept_nowhere(house: House) -> None:
    key, text = await house.keys.create(OWNER, KeyWish("ci"), "standard")
    secret = text.reveal().partition("_")[2]
    stored = await house.store.key(key.id)
    assert secret not in repr(vars(house.store))
    assert stored is not None
    assert secret.encode() not in stored.digest


async def test_scopes_default_and_never_exceed_the_creators(house: House) -> None:
    key, _ = await house.keys.create(OWNER, KeyWish("ci"), "standard")
    assert key.scopes == ("inference", "models:read", "usage:read")
    error = await refused(house.keys.create(OWNER, KeyWish("ci", ("inference", "jobs", "admin")), "standard"))
    assert error.reason is Reason.FORBIDDEN
    assert "admin, jobs" in error.message


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        ("admin", "jobs", True),
        ("admin", "admin", True),
        ("admin", "operator", False),
        ("operator", "operator", True),
        ("operator", "budgets", True),
        ("keys", "keys", True),
        ("keys", "admin", False),
    ],
)
async def test_what_a_scope_lets_one_pass_on(house: House, held: str, wanted: str, allowed: bool) -> None:
    creating = house.keys.create(principal(held), KeyWish("ci", (wanted,)), "standard")
    if allowed:
        assert (await creating)[0].scopes == (wanted,)
    else:
        assert (await refused(creating)).reason is Reason.FORBIDDEN


@pytest.mark.parametrize(
    ("models", "allowed"), [((), False), (("m3",), False), (("m1", "m3"), False), (("m1",), True)]
)
async def test_a_restricted_key_makes_only_restricted_keys(
    house: House, models: tuple[str, ...], allowed: bool
) -> None:
    creator = principal("inference", "keys", models=("m1", "m2"))
    creating = house.keys.create(creator, KeyWish("ci", ("inference",), models), "standard")
    if allowed:
        assert (await creating)[0].models == models
    else:
        assert (await refused(creating)).reason is Reason.FORBIDDEN


@pytest.mark.parametrize(
    ("creator", "policy", "result"),
    [
        (OWNER, "", "standard"),
        (OWNER, "standard", "standard"),
        (OWNER, "free", "free"),
        (OWNER, "enterprise", None),
        (principal("admin"), "pro", None),
        (OPERATOR, "enterprise", "enterprise"),
        (OPERATOR, "bespoke", "bespoke"),
    ],
)
async def test_only_an_operator_lifts_limits(
    house: House, creator: Principal, policy: str, result: str | None
) -> None:
    wish = KeyWish("ci", plan_policy=policy, account_id="acct_a")
    creating = house.keys.create(creator, wish, "standard")
    if result:
        assert (await creating)[0].plan_policy == result
    else:
        assert (await refused(creating)).reason is Reason.FORBIDDEN


BAD_WISHES = [
    (KeyWish(""), "name"),
    (KeyWish("   "), "name"),
    (KeyWish("x" * 101), "name"),
    (KeyWish("a\nb"), "name"),
    (KeyWish("ci", ("everything",)), "scopes"),
    (KeyWish("ci", models=("",)), "models"),
    (KeyWish("ci", models=("m" * 201,)), "models"),
    (KeyWish("ci", plan_policy="Über Plan"), "plan_policy"),
    (KeyWish("ci", ip_allow_list=("10.0.0.5/8",)), "ip_allow_list"),
    (KeyWish("ci", ip_allow_list=("10.0.0.0/33",)), "ip_allow_list"),
    (KeyWish("ci", ip_allow_list=("somewhere",)), "ip_allow_list"),
    (KeyWish("ci", ip_allow_list=tuple(f"10.0.0.{n}" for n in range(101))), "ip_allow_list"),
    (KeyWish("ci", expires_at_ms=1), "expires_at_ms"),
    (KeyWish("ci", expires_at_ms=-1), "expires_at_ms"),
]


@pytest.mark.parametrize(("wish", "field"), BAD_WISHES)
async def test_a_bad_field_is_named_and_nothing_is_made(house: House, wish: KeyWish, field: str) -> None:
    error = await refused(house.keys.create(OWNER, wish, "standard"))
    assert (error.reason, error.field) == (Reason.INVALID_REQUEST, field)
    assert await house.store.keys("acct_a") == []


async def test_a_hundred_ranges_of_both_families_are_fine(house: House) -> None:
    ranges = (*(f"10.0.{n}.0/24" for n in range(99)), "2001:db8::/32")
    key, _ = await house.keys.create(OWNER, KeyWish("ci", ip_allow_list=ranges), "standard")
    assert key.ip_allow_list == ranges


async def test_only_an_operator_may_name_another_account(house: House) -> None:
    key, _ = await house.keys.create(OPERATOR, KeyWish("ci", account_id="acct_b"), "enterprise")
    assert key.account_id == "acct_b"
    assert [k.id for k in await house.keys.list(OPERATOR, "acct_b")] == [key.id]
    assert await house.keys.list(OWNER, "acct_a") == []
    foreign = await refused(house.keys.list(OWNER, "acct_b"))
    unknown = await refused(house.keys.list(OWNER, "acct_x"))
    creation = await refused(
        house.keys.create(principal("admin"), KeyWish("ci", account_id="acct_b"), "standard")
    )
    assert foreign.reason is unknown.reason is creation.reason is Reason.NOT_FOUND
    assert foreign.message == unknown.message
    assert (await refused(house.keys.list(OPERATOR, "acct_x"))).reason is Reason.NOT_FOUND


async def test_a_foreign_key_cannot_be_told_from_an_unknown_one(house: House) -> None:
    key, text = await house.keys.create(OPERATOR, KeyWish("ci", account_id="acct_b"), "enterprise")
    foreign = await refused(house.keys.revoke(principal("admin"), key.id))
    unknown = await refused(house.keys.revoke(principal("admin"), "key_x"))
    assert foreign.reason is unknown.reason is Reason.NOT_FOUND
    assert foreign.message == unknown.message
    await house.authenticator.authenticate(text.reveal())
    await house.keys.revoke(OPERATOR, key.id)
    assert (
        await refused(house.authenticator.authenticate(text.reveal()))
    ).reason is Reason.INVALID_CREDENTIALS


async def test_a_revoked_key_ends_and_is_announced_once(house: House) -> None:
    key, text = await house.keys.create(OWNER, KeyWish("ci"), "standard")
    before = (await house.store.invalidations(0)).end
    await house.keys.revoke(OWNER, key.id)
    await house.keys.revoke(OWNER, key.id)
    log = await house.store.invalidations(before.version)
    assert [change.name for change in log.changes] == [f"principal/{key.id}"]
    assert (
        await refused(house.authenticator.authenticate(text.reveal()))
    ).reason is Reason.INVALID_CREDENTIALS
    [listed] = await house.keys.list(OWNER, "")
    assert listed.status(house.clock.wall_ms()) is Status.REVOKED


async def test_an_expired_key_says_so_only_to_who_holds_it(house: House) -> None:
    wish = KeyWish("ci", expires_at_ms=house.clock.wall_ms() + 5_000)
    _, text = await house.keys.create(OWNER, wish, "standard")
    house.clock.advance(4.999)
    await house.authenticator.authenticate(text.reveal())
    house.clock.advance(0.001)
    assert (await refused(house.authenticator.authenticate(text.reveal()))).reason is Reason.TOKEN_EXPIRED
    [listed] = await house.keys.list(OWNER, "")
    assert listed.status(house.clock.wall_ms()) is Status.EXPIRED


async def test_an_empty_key_policy_means_the_plan_of_the_account(house: House) -> None:
    key, text = await house.keys.create(OPERATOR, KeyWish("ci", account_id="acct_b"), "")
    found, _ = await house.authenticator.authenticate(text.reveal())
    assert key.plan_policy == ""
    assert found.policy == "pro"
    assert [str(n) for n in found.account_ip_allow_list] == ["10.0.0.0/8"]


async def test_last_use_is_listed_at_once_and_written_with_the_flush(house: House) -> None:
    key, text = await house.keys.create(OWNER, KeyWish("ci"), "standard")
    assert (await house.keys.list(OWNER, ""))[0].last_used_at_ms == 0
    house.clock.advance(30)
    await house.authenticator.authenticate(text.reveal())
    used = house.clock.wall_ms()
    assert (await house.keys.list(OWNER, ""))[0].last_used_at_ms == used
    stored = await house.store.key(key.id)
    assert stored is not None
    assert stored.last_used_at_ms == 0
    await house.last_used.flush()
    stored = await house.store.key(key.id)
    assert stored is not None
    assert stored.last_used_at_ms == used
