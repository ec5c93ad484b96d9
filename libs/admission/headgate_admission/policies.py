"""The rate policies by name, as metering pushes them."""

from collections.abc import Iterable
from dataclasses import dataclass

from headgate.metering.v1 import metering_pb2

STANDARD = "standard"
DEFAULT_CLASS = "default"


@dataclass(frozen=True, slots=True)
class ClassLimit:
    """Figures of one endpoint class; None is unlimited. The buckets lack their subject: append it."""

    request_bucket: str | None
    token_bucket: str | None
    tokens_per_minute: int


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. `per_address` adds a bucket of the same figures for each client address."""

    name: str
    classes: dict[str, ClassLimit]
    per_address: bool

    def limit(self, rate_class: str) -> ClassLimit:
        """The figures of a class, of `default` for a class without its own."""
        return self.classes.get(rate_class) or self.classes.get(DEFAULT_CLASS, _UNLIMITED)


_UNLIMITED = ClassLimit(None, None, 0)


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
    classes = {limit.rate_class: _class_limit(message.name, limit) for limit in message.limits}
    return Policy(message.name, classes, message.per_address)


def _class_limit(policy: str, limit: metering_pb2.RateLimit) -> ClassLimit:
    requests, tokens = limit.HasField("requests_per_minute"), limit.HasField("tokens_per_minute")
    return ClassLimit(
        request_bucket=f"requests/{policy}/{limit.rate_class}/" if requests else None,
        token_bucket=f"tokens/{policy}/{limit.rate_class}/" if tokens else None,
        tokens_per_minute=limit.tokens_per_minute,
    )
