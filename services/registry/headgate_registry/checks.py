"""What is wrong with a config only in view of everything else: names that stand twice or for nothing."""

from collections.abc import Collection, Iterable
from typing import Protocol

from headgate_registry.builtin import LOCAL
from headgate_registry.catalogue import merge
from headgate_registry.entries import Entries, entries_of_file
from headgate_settings.config import Config, Problems
from headgate_settings.suggest import did_you_mean

_HINT = " (a model that discovery finds must stand under models to be named here)"


class _Placed(Protocol):
    @property
    def line(self) -> int: ...


def check(config: Config, others: Collection[Entries]) -> None:
    """Raises ConfigError with every problem, in view of the environment's and the built-in entries (`others`).

    What discovery finds does not count: a config must not become wrong because a server was stopped.
    """
    problems = Problems(config.file)
    catalogue = merge((entries_of_file(config), *others))
    _check_twice(((each.name, each) for each in config.providers), "provider", problems)
    _check_twice(((each.id, each) for each in config.models), "model", problems)
    _check_providers(config, catalogue.providers.keys(), problems)
    _check_aliases(config, catalogue.models.keys(), problems)
    _check_fallbacks(config, catalogue.models.keys() | {each.name for each in config.aliases}, problems)
    problems.raise_if_any()


def _check_providers(config: Config, known: Collection[str], problems: Problems) -> None:
    for provider in config.providers:
        if provider.name == LOCAL:
            problems.report(provider.line, f"the provider '{LOCAL}' is built in; choose another name")
    for model in config.models:
        seen: set[tuple[str, str]] = set()
        for deployment in model.deployments:
            if deployment.provider and deployment.provider not in known:
                hint = did_you_mean(deployment.provider, known)
                problems.report(deployment.line, f"unknown provider '{deployment.provider}'{hint}")
            key = (deployment.provider, deployment.upstream_id)
            if key in seen:
                problems.report(deployment.line, f"the deployment '{'/'.join(key)}' stands here twice")
            seen.add(key)


def _check_twice(named: Iterable[tuple[str, _Placed]], what: str, problems: Problems) -> None:
    first: dict[str, int] = {}
    for name, each in named:
        if name in first:
            problems.report(each.line, f"the {what} '{name}' stands in line {first[name]} already")
        first.setdefault(name, each.line)


def _check_aliases(config: Config, known: Collection[str], problems: Problems) -> None:
    models = {model.id for model in config.models}
    aliases = {alias.name for alias in config.aliases}
    for alias in config.aliases:
        if alias.name in models:
            problems.report(alias.line, f"the alias '{alias.name}' is the id of a model already")
        for target in alias.targets:
            if target.model in aliases:
                problems.report(target.line, f"'{target.model}' is an alias; name the model itself")
            elif target.model not in known:
                problems.report(target.line, _unknown_model(target.model, known))


def _check_fallbacks(config: Config, known: Collection[str], problems: Problems) -> None:
    for chain in config.routing.fallbacks:
        for name in (chain.model, *chain.fallbacks):
            if name not in known:
                problems.report(chain.line, _unknown_model(name, known))
        if chain.model in chain.fallbacks:
            problems.report(chain.line, f"'{chain.model}' cannot be its own fallback")


def _unknown_model(name: str, known: Collection[str]) -> str:
    return f"unknown model '{name}'{did_you_mean(name, known) or _HINT}"
