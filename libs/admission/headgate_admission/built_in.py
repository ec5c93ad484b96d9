"""The built-in rate policies (RATE-3 to RATE-10, PLAN-2 to PLAN-7): what metering lays the config file over, and what
every process goes by until metering has spoken."""

from collections.abc import Mapping

from headgate.metering.v1 import metering_pb2
from headgate_admission.policies import DEFAULT_CLASS, STANDARD
from headgate_settings.config import LimitConfig, PolicyConfig


def _one_bucket(
    name: str, requests_per_minute: int | None = None, tokens_per_minute: int | None = None
) -> PolicyConfig:
    limit = LimitConfig(
        DEFAULT_CLASS, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute
    )
    return PolicyConfig(name, (limit,))


BUILTIN_POLICIES: Mapping[str, PolicyConfig] = {
    policy.name: policy
    for policy in (
        PolicyConfig(
            STANDARD,
            (
                LimitConfig(DEFAULT_CLASS, requests_per_minute=60),
                LimitConfig("chat", requests_per_minute=20),
                LimitConfig("embeddings", requests_per_minute=100),
            ),
            per_address=True,
        ),
        _one_bucket("free", 10, 10_000),
        _one_bucket("developer", 100, 100_000),
        _one_bucket("pro", 500, 500_000),
        PolicyConfig("enterprise", ()),
        _one_bucket("partner", 1000),
        _one_bucket("pay_per_use", 100, 100_000),
    )
}


def policy_message(policy: PolicyConfig) -> metering_pb2.RatePolicy:
    """The wire form of a policy."""
    return metering_pb2.RatePolicy(
        name=policy.name,
        limits=[_limit_message(limit) for limit in policy.limits],
        per_address=policy.per_address,
    )


def _limit_message(limit: LimitConfig) -> metering_pb2.RateLimit:
    return metering_pb2.RateLimit(
        rate_class=limit.rate_class,
        requests_per_minute=limit.requests_per_minute,
        tokens_per_minute=limit.tokens_per_minute,
        burst=limit.burst,
    )
