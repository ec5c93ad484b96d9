"""Tokens are reserved before a call, corrected as it runs, and refused at once when they can never fit."""

import pytest

from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.admission import AdmissionRig

BUCKET = "tokens/free/default/key_1"


async def admitted(rig: AdmissionRig, policy: str) -> CallContext:
    call = rig.call("Generate", rig.add("inference", policy=policy, name="1"))
    await rig.admission.admit(call)
    return call


async def test_a_reservation_is_spent_and_corrected_to_the_real_total() -> None:
    rig = AdmissionRig()
    call = await admitted(rig, "free")
    reservation = await rig.admission.tokens(call, 1_000)
    assert rig.leases.spent[BUCKET] == 1_000
    assert call.initial_metadata["x-ratelimit-limit-tokens"] == "10000"
    assert call.initial_metadata["x-ratelimit-remaining-tokens"] == "9000"
    assert call.initial_metadata["x-ratelimit-reset-tokens"] == "7.25s"
    for total in (400, 400, 1_200, 700):
        reservation.correct(total)
        assert rig.leases.spent[BUCKET] == total


async def test_an_empty_token_bucket_is_a_429_of_scope_tokens() -> None:
    rig = AdmissionRig()
    call = await admitted(rig, "free")
    await rig.admission.tokens(call, 9_500)
    with pytest.raises(HeadgateError) as refusal:
        await rig.admission.tokens(call, 501)
    assert refusal.value.reason is Reason.RATE_LIMIT_EXCEEDED
    assert refusal.value.metadata["x-ratelimit-scope"] == "tokens"
    assert refusal.value.metadata["retry-after"] == refusal.value.metadata["x-ratelimit-retry-after"] == "2"
    assert "x-should-retry" not in refusal.value.metadata
    assert rig.leases.spent[BUCKET] == 9_500


async def test_what_can_never_fit_is_said_with_both_figures_and_no_invitation_to_retry() -> None:
    rig = AdmissionRig()
    call = await admitted(rig, "free")
    await rig.admission.tokens(call, 10_000)
    with pytest.raises(HeadgateError) as refusal:
        await rig.admission.tokens(call, 10_001)
    assert refusal.value.reason is Reason.RATE_LIMIT_EXCEEDED
    assert "10001" in refusal.value.message
    assert "10000" in refusal.value.message
    assert refusal.value.metadata["x-should-retry"] == "false"
    assert refusal.value.metadata["x-ratelimit-scope"] == "tokens"


@pytest.mark.parametrize("policy", ["enterprise", "standard"])
async def test_without_a_token_limit_nothing_is_reserved_or_shown(policy: str) -> None:
    rig = AdmissionRig()
    call = await admitted(rig, policy)
    reservation = await rig.admission.tokens(call, 10**9)
    reservation.correct(5)
    assert reservation.units == 5
    assert not [bucket for bucket in rig.leases.spent if bucket.startswith("tokens/")]
    assert "x-ratelimit-limit-tokens" not in call.initial_metadata
