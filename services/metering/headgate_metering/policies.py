"""The rate policies: the built-in catalogue, overlaid by the config file."""

from collections.abc import Iterable

from headgate_admission.built_in import BUILTIN_POLICIES
from headgate_admission.policies import DEFAULT_CLASS, STANDARD
from headgate_leases.bucket import TokenBucket
from headgate_settings.config import Config, ConfigError, LimitConfig, PolicyConfig


def effective_policies(config: Config) -> dict[str, PolicyConfig]:
    """The catalogue with the file's policies over it. Raises ConfigError for a name that cannot stand in a
    bucket id."""
    problems = [
        f"{config.file}:{policy.line}: a policy's name must not hold '/'"
        for policy in config.policies
        if "/" in policy.name
    ]
    if problems:
        raise ConfigError(problems)
    return {**BUILTIN_POLICIES, **{policy.name: policy for policy in config.policies}}


class Limits:
    """The buckets of a set of policies, by bucket id."""

    def __init__(self, policies: Iterable[PolicyConfig]) -> None:
        self._classes = {policy.name: _by_kind(policy) for policy in policies}

    def bucket(self, bucket_id: str) -> TokenBucket | None:
        """The figures of `<kind>/<policy>/<class>/<subject>`, None where no limit applies. A policy that is gone
        counts as `standard`, a class without own figures as `default`. Raises ValueError for another form."""
        kind, policy, rate_class, subject = _parts(bucket_id)
        if kind not in ("requests", "tokens") or not subject:
            raise ValueError("a bucket id has the form requests/<policy>/<class>/<subject> or tokens/…")
        classes = self._classes.get(policy)
        if classes is None:
            classes = self._classes[STANDARD]
        figures = classes.get(rate_class) or classes.get(DEFAULT_CLASS, {})
        return figures.get(kind)


def _parts(bucket_id: str) -> tuple[str, str, str, str]:
    # The subject may hold slashes of its own: an IPv6 network does.
    kind, _, rest = bucket_id.partition("/")
    policy, _, rest = rest.partition("/")
    rate_class, _, subject = rest.partition("/")
    return kind, policy, rate_class, subject


def _by_kind(policy: PolicyConfig) -> dict[str, dict[str, TokenBucket]]:
    return {limit.rate_class: _buckets(limit) for limit in policy.limits}


def _buckets(limit: LimitConfig) -> dict[str, TokenBucket]:
    buckets = {}
    if limit.requests_per_minute is not None:
        capacity = limit.burst or limit.requests_per_minute
        buckets["requests"] = TokenBucket(capacity, limit.requests_per_minute)
    if limit.tokens_per_minute is not None:
        buckets["tokens"] = TokenBucket(limit.tokens_per_minute, limit.tokens_per_minute)
    return buckets
