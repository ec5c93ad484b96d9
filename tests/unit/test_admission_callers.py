"""A credential is asked for once, forgotten when auth says so, and never mistaken while auth is away."""

import asyncio

from headgate_admission.admission import MAX_SILENCE_S
from headgate_admission.callers import CallerLimits
from headgate_credentials import generate
from headgate_rpc.errors import HeadgateError, Reason
from headgate_telemetry.trace import format_traceparent, new_trace
from headgate_testing.admission import AdmissionRig


async def test_five_hundred_first_calls_ask_once() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    rig.auth.gate.clear()
    calls = [rig.call("Generate", credential) for _ in range(500)]
    tasks = [asyncio.create_task(rig.admission.admit(call)) for call in calls]
    await rig.auth.reached.wait()
    rig.auth.gate.set()
    await asyncio.gather(*tasks)
    assert rig.auth.asked[credential] == 1
    assert all(call.principal is calls[0].principal for call in calls)
    await rig.admission.admit(rig.call("Generate", credential))
    assert rig.auth.asked[credential] == 1
    assert rig.admission.waits == 500


async def test_the_question_is_part_of_the_trace_of_the_call_that_asks() -> None:
    rig = AdmissionRig()
    credential, trace = rig.add("inference"), new_trace()
    await rig.admission.admit(rig.call("Generate", credential, trace=trace))
    (asked,) = rig.auth.options
    assert asked.metadata == {"traceparent": format_traceparent(trace)}
    assert asked.timeout == CallerLimits().wait_s


async def test_a_renewal_is_nobodys_and_begins_a_trace_of_its_own() -> None:
    rig = AdmissionRig()
    await rig.start()
    credential = rig.add("inference")
    await rig.admission.admit(rig.call("Generate", credential))
    rig.clock.advance(CallerLimits().renew_s)
    rig.auth.reached.clear()
    await rig.admission.admit(rig.call("Generate", credential))
    await rig.auth.reached.wait()
    assert rig.auth.options[-1].metadata == {}
    await rig.admission.stop()


async def test_the_first_asker_going_away_does_not_harm_the_others() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    rig.auth.gate.clear()
    first = asyncio.create_task(rig.admission.admit(rig.call("Generate", credential)))
    await rig.auth.reached.wait()
    second = asyncio.create_task(rig.admission.admit(rig.call("Generate", credential)))
    await asyncio.sleep(0)
    first.cancel()
    rig.auth.gate.set()
    await second
    assert first.cancelled()
    assert rig.auth.asked[credential] == 1


async def test_refusals_share_no_error_object() -> None:
    rig = AdmissionRig()
    credential = generate().text.reveal()
    calls = [rig.call("Generate", credential) for _ in range(3)]
    errors = await asyncio.gather(*(rig.refusal(call) for call in calls))
    assert len({id(error) for error in errors}) == 3
    assert rig.auth.asked[credential] == 1


async def test_a_refused_key_is_remembered_for_ten_seconds_only() -> None:
    rig = AdmissionRig()
    known = rig.add("inference")
    principal = rig.auth.principals.pop(known)
    assert (await rig.refusal(rig.call("Generate", known))).reason is Reason.INVALID_CREDENTIALS
    rig.auth.principals[known] = principal
    rig.clock.advance(9.9)
    assert (await rig.refusal(rig.call("Generate", known))).reason is Reason.INVALID_CREDENTIALS
    assert rig.auth.asked[known] == 1
    rig.clock.advance(0.1)
    await rig.admission.admit(rig.call("Generate", known))


async def test_an_invalidation_voids_remembered_refusals_too() -> None:
    rig = AdmissionRig()
    await rig.start()
    known = rig.add("inference")
    principal = rig.auth.principals.pop(known)
    await rig.refusal(rig.call("Generate", known))
    rig.auth.principals[known] = principal
    rig.auth.source.publish({}, ["principal/key_other"])
    await rig.caught_up()
    await rig.admission.admit(rig.call("Generate", known))
    await rig.admission.stop()


async def test_what_is_remembered_is_bounded() -> None:
    rig = AdmissionRig(CallerLimits(size=3, refused_size=2))
    credentials = [rig.add("inference") for _ in range(5)]
    for credential in credentials:
        await rig.admission.admit(rig.call("Generate", credential))
        await rig.admission.admit(rig.call("Generate", credentials[0]))
    for _ in range(5):
        await rig.refusal(rig.call("Generate", generate().text.reveal()))
    callers = rig.admission._callers
    assert len(callers._entries) == 3
    assert len(callers._refusals) == 2
    assert len(callers._keys_of) == 4
    assert rig.auth.asked[credentials[0]] == 1, "the one in use was dropped"


async def test_a_revoked_key_is_forgotten_and_others_are_not() -> None:
    rig = AdmissionRig()
    await rig.start()
    one, two = rig.add("inference"), rig.add("inference")
    await rig.admission.admit(rig.call("Generate", one))
    await rig.admission.admit(rig.call("Generate", two))
    rig.auth.revoke(one)
    await rig.caught_up()
    assert (await rig.refusal(rig.call("Generate", one))).reason is Reason.INVALID_CREDENTIALS
    await rig.admission.admit(rig.call("Generate", two))
    assert rig.auth.asked[two] == 1
    await rig.admission.stop()


async def test_an_invalidated_account_forgets_all_its_keys() -> None:
    rig = AdmissionRig()
    await rig.start()
    credentials = [rig.add("inference") for _ in range(3)]
    for credential in credentials:
        await rig.admission.admit(rig.call("Generate", credential))
    rig.auth.source.publish({}, ["account/acct_a"])
    await rig.caught_up()
    for credential in credentials:
        await rig.admission.admit(rig.call("Generate", credential))
        assert rig.auth.asked[credential] == 2
    await rig.admission.stop()


async def test_an_answer_older_than_a_seen_revocation_is_asked_again() -> None:
    rig = AdmissionRig()
    await rig.start()
    credential = rig.add("inference")
    rig.auth.gate.clear()
    pending = asyncio.create_task(rig.refusal(rig.call("Generate", credential)))
    await rig.auth.reached.wait()
    rig.auth.revoke(credential)
    await rig.caught_up()
    rig.auth.gate.set()
    assert (await pending).reason is Reason.INVALID_CREDENTIALS
    assert rig.auth.asked[credential] == 2
    await rig.admission.stop()


async def test_an_answer_of_before_a_restart_of_auth_is_asked_again() -> None:
    rig = AdmissionRig()
    await rig.start()
    credential = rig.add("inference")
    rig.auth.gate.clear()
    pending = asyncio.create_task(rig.refusal(rig.call("Generate", credential)))
    await rig.auth.reached.wait()
    del rig.auth.principals[credential]
    rig.auth.source.epoch = "another life"
    rig.admission._callers.forget_all(rig.auth.source.position)
    rig.auth.gate.set()
    assert (await pending).reason is Reason.INVALID_CREDENTIALS
    assert rig.auth.asked[credential] == 2
    await rig.admission.stop()


async def test_a_restarted_watch_forgets_everybody() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    await rig.admission.admit(rig.call("Generate", credential))
    await rig.start()
    await rig.admission.admit(rig.call("Generate", credential))
    assert rig.auth.asked[credential] == 2
    await rig.admission.stop()


async def test_while_auth_is_away_known_keys_work_and_unknown_ones_get_a_503() -> None:
    rig = AdmissionRig()
    known, unknown = rig.add("inference"), rig.add("inference")
    await rig.admission.admit(rig.call("Generate", known))
    for reason in (Reason.SERVICE_UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.INTERNAL_ERROR):
        rig.auth.away = HeadgateError(reason, "away")
        error = await rig.refusal(rig.call("Generate", unknown))
        assert error.reason is Reason.SERVICE_UNAVAILABLE
        assert error.retry_after_ms
        await rig.admission.admit(rig.call("Generate", known))
    rig.auth.away = None
    await rig.admission.admit(rig.call("Generate", unknown))


async def test_an_auth_that_hangs_is_waited_for_no_longer_than_allowed() -> None:
    rig = AdmissionRig(CallerLimits(wait_s=0.01))
    rig.auth.gate.clear()
    error = await rig.refusal(rig.call("Generate", rig.add("inference")))
    assert error.reason is Reason.SERVICE_UNAVAILABLE


async def test_known_keys_are_let_in_for_a_bounded_time_without_auth() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    await rig.admission.admit(rig.call("Generate", credential))
    rig.auth.away = HeadgateError(Reason.SERVICE_UNAVAILABLE, "away")
    rig.clock.advance(MAX_SILENCE_S)
    await rig.admission.admit(rig.call("Generate", credential))
    rig.clock.advance(0.1)
    assert (await rig.refusal(rig.call("Generate", credential))).reason is Reason.SERVICE_UNAVAILABLE


async def test_a_key_in_use_is_renewed_each_minute_without_waiting() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    await rig.admission.admit(rig.call("Generate", credential))
    rig.clock.advance(60)
    rig.auth.reached.clear()
    rig.auth.gate.clear()
    for _ in range(3):
        await rig.admission.admit(rig.call("Generate", credential))
    await rig.auth.reached.wait()
    assert rig.auth.asked[credential] == 2
    del rig.auth.principals[credential]
    rig.auth.gate.set()
    flight = next(iter(rig.admission._callers._flights.values()))
    await flight
    await rig.admission.admit(rig.call("Generate", credential))
    rig.clock.advance(60)
    await rig.admission.admit(rig.call("Generate", credential))
    await next(iter(rig.admission._callers._flights.values()))
    assert (await rig.refusal(rig.call("Generate", credential))).reason is Reason.INVALID_CREDENTIALS


async def test_credentials_are_not_kept() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference")
    await rig.admission.admit(rig.call("Generate", credential))
    await rig.refusal(rig.call("Generate", generate().text.reveal()))
    callers = rig.admission._callers
    assert credential not in repr((callers._entries, callers._refusals, callers._keys_of))
