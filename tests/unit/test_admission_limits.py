"""Every request is charged once, to the right buckets, and is told where it stands."""

import pytest

from headgate.metering.v1.metering_pb2 import RateLimit, RatePolicy
from headgate_admission.headers import duration
from headgate_rpc.errors import Reason
from headgate_testing.admission import AdmissionRig

CHARGES = [
    ("free", "Generate", {"requests/free/default/key_1": 1}),
    ("free", "Embed", {"requests/free/default/key_1": 1}),
    ("free", "CreateKey", {"requests/free/default/key_1": 1}),
    ("standard", "Generate", {"requests/standard/chat/key_1": 1, "requests/standard/chat/192.0.2.1": 1}),
    (
        "standard",
        "Embed",
        {"requests/standard/embeddings/key_1": 1, "requests/standard/embeddings/192.0.2.1": 1},
    ),
    (
        "standard",
        "CreateKey",
        {"requests/standard/default/key_1": 1, "requests/standard/default/192.0.2.1": 1},
    ),
    (
        "no such policy",
        "Embed",
        {"requests/standard/embeddings/key_1": 1, "requests/standard/embeddings/192.0.2.1": 1},
    ),
    ("enterprise", "Generate", {}),
]


@pytest.mark.parametrize(("policy", "method", "spent"), CHARGES)
async def test_a_call_spends_one_request_of_its_class(
    policy: str, method: str, spent: dict[str, int]
) -> None:
    rig = AdmissionRig()
    call = rig.call(method, rig.add("operator", policy=policy, name="1"))
    await rig.admission.admit(call)
    assert rig.leases.spent == spent


@pytest.mark.parametrize(
    "metadata", [{}, {"x-api-key": "noise"}, {"authorization": "Basic x"}, {"x-api-key": "a.b.c"}]
)
async def test_a_stranger_spends_from_the_address_bucket_of_standard_alone(metadata: dict[str, str]) -> None:
    rig = AdmissionRig()
    error = await rig.refusal(rig.call("Generate", metadata))
    assert error.condition.http == 401
    assert rig.leases.spent == {"requests/standard/default/192.0.2.1": 1}
    assert error.metadata["x-ratelimit-limit"] == "60"
    assert error.metadata["x-ratelimit-remaining"] == "59"
    assert "retry-after" not in error.metadata


async def test_a_stranger_with_an_empty_bucket_gets_a_429_in_place_of_the_401() -> None:
    rig = AdmissionRig()
    for _ in range(60):
        assert (await rig.refusal(rig.call("Generate"))).reason is Reason.UNAUTHORIZED
    error = await rig.refusal(rig.call("Generate"))
    assert error.reason is Reason.RATE_LIMIT_EXCEEDED
    assert error.metadata["x-ratelimit-scope"] == "ip"
    other = await rig.refusal(rig.call("Generate", address="192.0.2.2"))
    assert other.reason is Reason.UNAUTHORIZED
    await rig.admission.admit(rig.call("Generate", rig.add("inference", policy="free")))


async def test_one_address_is_one_caller_on_both_kinds_of_socket() -> None:
    rig = AdmissionRig()
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"):
        await rig.refusal(rig.call("Generate", address=address))
    assert rig.leases.spent == {
        "requests/standard/default/192.0.2.1": 2,
        "requests/standard/default/2001:db8::1": 1,
    }


async def test_n_calls_pass_and_the_next_is_told_when_to_come_back() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference", policy="free")
    remaining = []
    for _ in range(10):
        call = rig.call("Generate", credential)
        await rig.admission.admit(call)
        remaining.append(int(call.initial_metadata["x-ratelimit-remaining"]))
    assert remaining == list(range(9, -1, -1))
    error = await rig.refusal(rig.call("Generate", credential))
    assert error.reason is Reason.RATE_LIMIT_EXCEEDED
    assert error.retry_after_ms == 1_500
    assert error.details["scope"] == "requests"
    assert error.metadata == {
        "x-ratelimit-limit": "10",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(-(-(rig.clock.wall_ms() + 7_250) // 1000)),
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "7.25s",
        "retry-after": "2",
        "x-ratelimit-retry-after": "2",
        "x-ratelimit-scope": "requests",
    }


async def test_a_full_address_refuses_and_gives_the_keys_unit_back() -> None:
    rig = AdmissionRig()
    one, two = (rig.add("inference", policy="standard", name=name) for name in ("1", "2"))
    for credential in [one, two] * 10:
        await rig.admission.admit(rig.call("Generate", credential))
    error = await rig.refusal(rig.call("Generate", one))
    assert error.reason is Reason.RATE_LIMIT_EXCEEDED
    assert error.metadata["x-ratelimit-scope"] == "ip"
    assert rig.leases.spent["requests/standard/chat/key_1"] == 10
    await rig.admission.admit(rig.call("Generate", one, address="192.0.2.9"))


async def test_the_tightest_bucket_is_shown() -> None:
    rig = AdmissionRig()
    one, two = (rig.add("inference", policy="standard", name=name) for name in ("1", "2"))
    await rig.admission.admit(rig.call("Generate", one))
    call = rig.call("Generate", two)
    await rig.admission.admit(call)
    assert call.initial_metadata["x-ratelimit-remaining"] == "18"
    call = rig.call("Generate", two, address="192.0.2.9")
    await rig.admission.admit(call)
    assert call.initial_metadata["x-ratelimit-remaining"] == "18"


async def test_no_limits_show_as_the_largest_figure_an_integer_parser_takes() -> None:
    rig = AdmissionRig()
    call = rig.call("Generate", rig.add("inference"))
    await rig.admission.admit(call)
    metadata = call.initial_metadata
    assert metadata["x-ratelimit-limit"] == metadata["x-ratelimit-remaining"] == "2147483647"
    assert int(metadata["x-ratelimit-reset"]) == rig.clock.wall_ms() // 1000 + 60


async def test_a_policy_may_admit_more_or_less_at_once_than_it_refills() -> None:
    rig = AdmissionRig()
    limit = RateLimit(rate_class="default", requests_per_minute=600, burst=3)
    rig.metering.source.replace({"bursty": RatePolicy(name="bursty", limits=[limit])})
    await rig.start()
    await rig.admission._policies_watch.ready.wait()
    credential = rig.add("inference", policy="bursty")
    for _ in range(3):
        await rig.admission.admit(rig.call("Generate", credential))
    error = await rig.refusal(rig.call("Generate", credential))
    assert error.metadata["x-ratelimit-limit"] == "3"
    await rig.admission.stop()


async def test_a_share_that_is_spent_while_metering_is_away_is_a_503_never_a_429() -> None:
    rig = AdmissionRig()
    rig.leases.away = True
    error = await rig.refusal(rig.call("Generate", rig.add("inference", policy="free")))
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert error.retry_after_ms == 1_500
    assert "x-ratelimit-scope" not in error.metadata
    assert "x-ratelimit-limit" in error.metadata


@pytest.mark.parametrize("rate_class", ["", "chat", "embeddings", "default", "unheard of"])
async def test_check_caller_charges_one_request_of_the_named_class(rate_class: str) -> None:
    rig = AdmissionRig()
    call = rig.call("CheckCaller", rig.add(policy="standard", name="1"))
    await rig.admission.admit(call)
    assert rig.leases.spent == {}
    await rig.admission.charge(call, rate_class)
    charged = rate_class if rate_class in ("chat", "embeddings") else "default"
    assert rig.leases.spent == {
        f"requests/standard/{charged}/key_1": 1,
        f"requests/standard/{charged}/192.0.2.1": 1,
    }
    assert "x-ratelimit-limit" in call.initial_metadata


async def test_a_wrong_address_costs_a_request_of_the_address_not_of_the_key() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference", policy="free", ranges=("10.0.0.0/8",))
    error = await rig.refusal(rig.call("Generate", credential))
    assert error.metadata["x-ratelimit-limit"] == "60"
    assert rig.leases.spent == {"requests/standard/default/192.0.2.1": 1}


async def test_policies_are_the_pushed_ones_once_metering_has_spoken() -> None:
    rig = AdmissionRig()
    credential = rig.add("inference", policy="bespoke", name="1")
    rig.metering.source.replace(
        {"bespoke": RatePolicy(name="bespoke", limits=[RateLimit(rate_class="chat", requests_per_minute=7)])}
    )
    await rig.start()
    await rig.admission._policies_watch.ready.wait()
    call = rig.call("Generate", credential)
    await rig.admission.admit(call)
    assert rig.leases.spent == {"requests/bespoke/chat/key_1": 1}
    unlimited = rig.call("Embed", credential)
    await rig.admission.admit(unlimited)
    assert unlimited.initial_metadata["x-ratelimit-limit"] == "2147483647"
    assert (await rig.refusal(rig.call("Generate"))).metadata["x-ratelimit-limit"] == "60"
    await rig.admission.stop()


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "0ms"), (0, "0ms"), (12, "12ms"), (999, "999ms"), (1000, "1s"), (1500, "1.5s"), (8640, "8.64s"),
     (59_999, "59.999s"), (60_000, "1m0s"), (90_951, "1m30.951s"), (360_000, "6m0s")],
)  # fmt: skip
def test_durations_read_as_openai_writes_them(ms: int, text: str) -> None:
    assert duration(ms) == text


async def test_a_start_waits_for_the_policies_but_not_for_ever() -> None:
    rig = AdmissionRig()
    await rig.admission.policies_arrived(0.0)  # nobody follows yet: they do not come
    await rig.admission.start()
    await rig.admission.policies_arrived(10.0)
    assert rig.admission._policies_watch.ready.is_set()
    await rig.admission.stop()
