"""The rate policies by name, as metering pushes them."""

from collections.abc import Iterable
from dataclasses import dataclass

from headgate.metering.v1 import metering_pb2
from headgate_leases.bucket import TokenBucket

STANDARD = "standard"
DEFAULT_CLASS = "default"


@dataclass(frozen=True, slots=True)
class Limit:
    """Figures, and the bucket id without its subject: append the principal id or the address."""

    prefix: str
    figures: TokenBucket


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """Limits of one endpoint class; None is unlimited."""

    requests: Limit | None
    tokens: Limit | None


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. `per_address` adds a bucket of the same figures for each client address."""

    name: str
    classes: dict[str, ClassLimits]
    per_address: bool

    def limits(self, rate_class: str) -> ClassLimits:
        """The limits of a class, of `default` for a class without its own."""
        return self.classes.get(rate_class) or self.classes.get(DEFAULT_CLASS, _UNLIMITED)


_UNLIMITED = ClassLimits(None, None)


class Policies:
    """The policies now: built-in ones until metering has spoken."""

    def __init__(self, built_in: Iterable[metering_pb2.RatePolicy]) -> None:
        self._built_in = _by_name(built_in)
        if STANDARD not in self._built_in:
            raise ValueError("the built-in policies must hold 'standard'")
        self.replace(())

    def replace(self, policies: Iterable[metering_pb2.RatePolicy]) -> None:
        """Takes what metering pushed; the built-in `standard` stays when it is not among them."""
        by_name = _by_name(policies)
        self._by_name = {STANDARD: self._built_in[STANDARD], **by_name} if by_name else self._built_in
        self.standard = self._by_name[STANDARD]

    def get(self, name: str) -> Policy:
        """The policy, `standard` for a name that does not exist."""
        return self._by_name.get(name, self.standard)


def _by_name(policies: Iterable[metering_pb2.RatePolicy]) -> dict[str, Policy]:
    return {policy.name: _policy(policy) for policy in policies}


def _policy(message: metering_pb2.RatePolicy) -> Policy:
    classes = {each.rate_class: _class_limits(message.name, each) for each in message.limits}
    return Policy(message.name, classes, message.per_address)


def _class_limits(policy: str, message: metering_pb2.RateLimit) -> ClassLimits:
    requests = tokens = None
    if message.HasField("requests_per_minute"):
        per_minute = message.requests_per_minute
        burst = message.burst if message.HasField("burst") else per_minute
        requests = Limit(f"requests/{policy}/{message.rate_class}/", _figures(burst, per_minute))
    if message.HasField("tokens_per_minute"):
        per_minute = message.tokens_per_minute
        tokens = Limit(f"tokens/{policy}/{message.rate_class}/", _figures(per_minute, per_minute))
    return ClassLimits(requests, tokens)


def _figures(capacity: int, per_minute: int) -> TokenBucket:
    # A bucket cannot be of size 0, and a policy that is wrong must not stop the watch that would correct it.
    return TokenBucket(max(capacity, 1), max(per_minute, 1))
