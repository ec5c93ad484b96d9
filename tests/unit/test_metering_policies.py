"""The rate policies: the built-in figures, the file's overlay, and which bucket holds for an id."""

import pytest

from headgate_admission.built_in import BUILTIN_POLICIES, policy_message
from headgate_leases.bucket import TokenBucket
from headgate_metering.policies import Limits, effective_policies
from headgate_settings.config import Config, ConfigError, LimitConfig, PolicyConfig

LIMITS = Limits(BUILTIN_POLICIES.values())


def figures(bucket_id: str, limits: Limits = LIMITS) -> tuple[int, int] | None:
    bucket = limits.bucket(bucket_id)
    return (bucket.capacity, bucket.per_minute) if bucket else None


@pytest.mark.parametrize(
    ("policy", "rate_class", "requests", "tokens"),
    [
        ("standard", "default", 60, None),
        ("standard", "chat", 20, None),
        ("standard", "embeddings", 100, None),
        ("free", "default", 10, 10_000),
        ("developer", "default", 100, 100_000),
        ("pro", "default", 500, 500_000),
        ("enterprise", "default", None, None),
        ("partner", "default", 1000, None),
        ("pay_per_use", "default", 100, 100_000),
    ],
)
def test_the_built_in_policies_have_the_documented_figures(
    policy: str, rate_class: str, requests: int | None, tokens: int | None
) -> None:
    assert figures(f"requests/{policy}/{rate_class}/key_1") == (requests and (requests, requests))
    assert figures(f"tokens/{policy}/{rate_class}/key_1") == (tokens and (tokens, tokens))


def test_only_standard_also_limits_each_address() -> None:
    assert [name for name, policy in BUILTIN_POLICIES.items() if policy.per_address] == ["standard"]


def test_a_class_without_own_figures_falls_under_default() -> None:
    assert figures("requests/free/chat/key_1") == (10, 10)
    assert figures("requests/enterprise/chat/key_1") is None


def test_a_policy_that_is_gone_counts_as_standard() -> None:
    assert figures("requests/gone/chat/key_1") == (20, 20)


def test_the_subject_may_hold_slashes() -> None:
    assert figures("requests/standard/default/2001:db8::/64") == (60, 60)


@pytest.mark.parametrize("bucket_id", ["", "requests", "requests/free/default/", "budget/free/default/key_1"])
def test_another_form_of_bucket_id_is_refused(bucket_id: str) -> None:
    with pytest.raises(ValueError, match="bucket id has the form"):
        LIMITS.bucket(bucket_id)


def test_the_file_replaces_and_adds_whole_policies() -> None:
    config = Config(
        policies=(
            PolicyConfig("free", (LimitConfig("default", requests_per_minute=3, burst=5),)),
            PolicyConfig("tiny", (LimitConfig("chat", tokens_per_minute=50),)),
        )
    )
    limits = Limits(effective_policies(config).values())
    assert figures("requests/free/default/key_1", limits) == (5, 3)
    assert figures("tokens/free/default/key_1", limits) is None
    assert figures("tokens/tiny/chat/key_1", limits) == (50, 50)
    assert figures("requests/tiny/default/key_1", limits) is None
    assert figures("requests/pro/default/key_1", limits) == (500, 500)


def test_a_name_that_would_break_bucket_ids_is_refused_with_its_line() -> None:
    config = Config(policies=(PolicyConfig("a/b", (), line=7),), file="headgate.yaml")
    with pytest.raises(ConfigError, match=r"headgate.yaml:7: a policy's name must not hold '/'"):
        effective_policies(config)


def test_a_message_says_unlimited_by_absence() -> None:
    message = policy_message(BUILTIN_POLICIES["partner"])
    [limit] = message.limits
    assert (message.name, limit.rate_class, limit.requests_per_minute) == ("partner", "default", 1000)
    assert not limit.HasField("tokens_per_minute")
    assert not limit.HasField("burst")
    assert not policy_message(BUILTIN_POLICIES["enterprise"]).limits


def test_a_bucket_refills_evenly_over_the_minute() -> None:
    bucket = LIMITS.bucket("requests/standard/chat/key_1")
    assert isinstance(bucket, TokenBucket)
    level, taken = bucket.take(bucket.full(0), 0, 20)
    assert (taken, bucket.remaining(level, 30_000), bucket.remaining(level, 60_000)) == (20, 10, 20)
