"""A running call ends with its key, and only then."""

import asyncio

from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_testing.admission import AdmissionRig


async def settled(rig: AdmissionRig) -> None:
    """Until admission has heard everything and has made its checks."""
    await rig.caught_up()
    async with asyncio.timeout(5):
        while rig.admission._open_calls._checks:
            await asyncio.gather(*rig.admission._open_calls._checks)


async def running(rig: AdmissionRig, credential: str, cuts: list[str], name: str) -> CallContext:
    call = rig.call("StreamGenerate", credential)
    await rig.admission.admit(call)
    rig.admission.on_revoked(call, lambda: cuts.append(name))
    return call


async def test_the_calls_of_a_revoked_key_are_cut_and_those_of_others_run_on() -> None:
    rig = AdmissionRig()
    await rig.start()
    cuts: list[str] = []
    one, two = rig.add("inference"), rig.add("inference")
    await running(rig, one, cuts, "a")
    await running(rig, one, cuts, "b")
    await running(rig, two, cuts, "c")
    rig.auth.revoke(one)
    await settled(rig)
    assert sorted(cuts) == ["a", "b"]
    await rig.admission.stop()


async def test_a_principal_that_only_changed_is_not_cut() -> None:
    rig = AdmissionRig()
    await rig.start()
    cuts: list[str] = []
    credential = rig.add("inference", name="1")
    await running(rig, credential, cuts, "a")
    rig.auth.source.publish({}, ["principal/key_1"])
    await settled(rig)
    assert cuts == []
    del rig.auth.principals[credential]
    rig.auth.source.publish({}, ["account/acct_a"])
    await settled(rig)
    assert cuts == ["a"]
    await rig.admission.stop()


async def test_a_call_that_has_ended_is_left_alone() -> None:
    rig = AdmissionRig()
    await rig.start()
    cuts: list[str] = []
    credential = rig.add("inference")
    call = await running(rig, credential, cuts, "a")
    call.run_done_callbacks()
    rig.auth.revoke(credential)
    await settled(rig)
    assert cuts == []
    assert rig.admission._open_calls._by_name == {}
    await rig.admission.stop()


async def test_a_key_revoked_between_the_gate_and_the_handler_is_noticed() -> None:
    rig = AdmissionRig()
    await rig.start()
    cuts: list[str] = []
    credential = rig.add("inference")
    call = rig.call("StreamGenerate", credential)
    await rig.admission.admit(call)
    rig.auth.revoke(credential)
    await settled(rig)
    rig.admission.on_revoked(call, lambda: cuts.append("a"))
    await settled(rig)
    assert cuts == ["a"]
    await rig.admission.stop()


async def test_a_revocation_missed_while_auth_was_unheard_is_found_when_the_watch_starts_again() -> None:
    rig = AdmissionRig()
    await rig.start()
    cuts: list[str] = []
    credential = rig.add("inference")
    await running(rig, credential, cuts, "a")
    await rig.admission.stop()
    del rig.auth.principals[credential]
    rig.auth.source.epoch = "another life"
    rig.auth.away = HeadgateError(Reason.SERVICE_UNAVAILABLE, "away")
    await rig.start()
    await settled(rig)
    assert cuts == [], "an auth that cannot be asked ends no call"
    await rig.admission.stop()
    rig.auth.away = None
    rig.auth.source.epoch = "a third life"
    await rig.start()
    await settled(rig)
    assert cuts == ["a"]
    await rig.admission.stop()
