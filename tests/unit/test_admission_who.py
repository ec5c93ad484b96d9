"""Who may do what from where, and what each refusal is called."""

import pytest

from headgate_admission.admission import Admission
from headgate_clock import SystemClock
from headgate_credentials import generate
from headgate_rpc.errors import Reason
from headgate_testing.admission import AdmissionRig

ALLOWED = [
    ("Generate", ("inference",)),
    ("Generate", ("admin",)),
    ("Generate", ("operator",)),
    ("CreateKey", ("keys",)),
    ("CreateKey", ("admin",)),
    ("CreateKey", ("inference", "operator")),
    ("CreateAccount", ("operator",)),
    ("CheckCaller", ()),
    ("CheckCaller", ("inference",)),
]
FORBIDDEN = [
    ("Generate", ()),
    ("Generate", ("models:read", "keys")),
    ("CreateKey", ("inference",)),
    ("CreateAccount", ("admin",)),
    ("CreateAccount", ("keys", "admin", "inference")),
]


@pytest.mark.parametrize(("method", "scopes"), ALLOWED)
async def test_a_principal_with_the_scope_comes_in(method: str, scopes: tuple[str, ...]) -> None:
    rig = AdmissionRig()
    call = rig.call(method, rig.add(*scopes, name="1"))
    await rig.admission.admit(call)
    assert call.principal is not None
    assert (call.principal.id, call.principal.account_id) == ("key_1", "acct_a")
    assert (call.record.principal_id, call.record.account_id) == ("key_1", "acct_a")
    assert call.record.key_prefix.startswith("sk-hg-")


@pytest.mark.parametrize(("method", "scopes"), FORBIDDEN)
async def test_a_principal_without_the_scope_does_not(method: str, scopes: tuple[str, ...]) -> None:
    rig = AdmissionRig()
    error = await rig.refusal(rig.call(method, rig.add(*scopes, policy="free")))
    assert error.reason is Reason.FORBIDDEN
    assert error.metadata["x-ratelimit-remaining"] == "9"


@pytest.mark.parametrize("method", ["Authenticate", "WatchCredentials", "AcquireLeases"])
async def test_internal_methods_are_for_insiders_only(method: str) -> None:
    rig = AdmissionRig()
    inside = rig.call(method, inside=True)
    await rig.admission.admit(inside)
    assert inside.initial_metadata == {}
    for credential in ("", rig.add("operator")):
        assert (await rig.refusal(rig.call(method, credential))).reason is Reason.FORBIDDEN
    assert rig.leases.spent == {}


async def test_being_inside_is_no_credential_for_public_methods() -> None:
    rig = AdmissionRig()
    assert (await rig.refusal(rig.call("Generate", inside=True))).reason is Reason.UNAUTHORIZED
    error = await rig.refusal(rig.call("CreateAccount", rig.add("admin"), inside=True))
    assert error.reason is Reason.FORBIDDEN


BAD = [
    ({}, Reason.UNAUTHORIZED),
    ({"authorization": "Basic YTpi"}, Reason.INVALID_CREDENTIALS),
    ({"authorization": "Bearer hello"}, Reason.INVALID_CREDENTIALS),
    ({"x-api-key": "hello"}, Reason.INVALID_CREDENTIALS),
    ({"authorization": "Bearer a.b.c"}, Reason.INVALID_CREDENTIALS),
]


@pytest.mark.parametrize(("metadata", "reason"), BAD)
async def test_no_credential_and_noise_are_refused_without_asking_auth(
    metadata: dict[str, str], reason: Reason
) -> None:
    rig = AdmissionRig()
    assert (await rig.refusal(rig.call("Generate", metadata))).reason is reason
    assert rig.auth.asked.total() == 0


async def test_two_credentials_must_be_one() -> None:
    rig = AdmissionRig()
    one, two = rig.add("inference"), rig.add("inference")
    await rig.admission.admit(rig.call("Generate", {"authorization": f"Token {one}", "x-api-key": one}))
    error = await rig.refusal(rig.call("Generate", {"authorization": f"Bearer {one}", "x-api-key": two}))
    assert error.reason is Reason.INVALID_CREDENTIALS


ADDRESSES = [
    ((), (), "192.0.2.1", True),
    (("192.0.2.0/24",), (), "192.0.2.1", True),
    (("192.0.2.0/24",), (), "192.0.3.1", False),
    (("192.0.2.0/24",), (), "::ffff:192.0.2.1", True),
    (("2001:db8::/32",), (), "2001:db8::7", True),
    (("2001:db8::/32",), (), "192.0.2.1", False),
    (("10.0.0.0/8", "192.0.2.1/32"), (), "192.0.2.1", True),
    ((), ("192.0.2.0/24",), "192.0.2.1", True),
    ((), ("10.0.0.0/8",), "192.0.2.1", False),
    (("192.0.2.0/24",), ("10.0.0.0/8",), "192.0.2.1", False),
    (("192.0.2.0/24",), ("192.0.0.0/16",), "192.0.2.1", True),
    (("0.0.0.0/0",), (), "", False),
    (("0.0.0.0/0",), (), "unix", False),
]


@pytest.mark.parametrize(("ranges", "account_ranges", "address", "allowed"), ADDRESSES)
async def test_both_address_lists_hold(
    ranges: tuple[str, ...], account_ranges: tuple[str, ...], address: str, allowed: bool
) -> None:
    rig = AdmissionRig()
    credential = rig.add("inference", ranges=ranges, account_ranges=account_ranges)
    call = rig.call("Generate", credential, address)
    if allowed:
        await rig.admission.admit(call)
    else:
        assert (await rig.refusal(call)).reason is Reason.IP_NOT_ALLOWED


async def test_a_remembered_key_ends_at_its_expiry() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference", expires_at_ms=rig.clock.wall_ms() + 5_000)
    await rig.admission.admit(rig.call("Generate", credential))
    rig.clock.advance(4.9)
    await rig.admission.admit(rig.call("Generate", credential))
    rig.clock.advance(0.1)
    assert (await rig.refusal(rig.call("Generate", credential))).reason is Reason.TOKEN_EXPIRED
    assert rig.auth.asked[credential] == 1


async def test_an_unknown_key_of_the_right_form_is_refused() -> None:
    rig = AdmissionRig()
    credential = generate().text.reveal()
    assert (await rig.refusal(rig.call("Generate", credential))).reason is Reason.INVALID_CREDENTIALS


def test_standard_must_be_among_the_built_in_policies() -> None:
    with pytest.raises(ValueError, match="standard"):
        Admission(SystemClock(), [])
