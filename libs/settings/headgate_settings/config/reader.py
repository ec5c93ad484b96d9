"""The text of `headgate.yaml` to a `Config`; every problem is found in one run."""

from collections.abc import Mapping
from ipaddress import ip_network

import yaml
from yaml.nodes import Node

from headgate_settings.config.models import MOST_WEIGHT, check_id, read_models
from headgate_settings.config.problems import Problems
from headgate_settings.config.providers import read_providers
from headgate_settings.config.schema import (
    OBJECTIVES,
    RATE_CLASSES,
    AliasConfig,
    AliasTargetConfig,
    Config,
    FallbackConfig,
    LimitConfig,
    Network,
    NetworkConfig,
    PolicyConfig,
    RoutingConfig,
)
from headgate_settings.config.section import Section, Source, is_null

_MOST_PER_MINUTE = 10**12

# The parser in C reads 500 models in a tenth of the time.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_config(content: bytes, file: str, environ: Mapping[str, str]) -> Config:
    """The config that a file's bytes describe; `file` is its name in messages.

    Raises ConfigError with every problem.
    """
    problems = Problems(file)
    node = _compose(content, problems)
    problems.raise_if_any()
    root = (
        None if node is None or is_null(node) else Section.open(node, Source(problems, environ), "the file")
    )
    config = Config(file=file) if root is None else _read(root, file)
    problems.raise_if_any()
    return config


def _compose(content: bytes, problems: Problems) -> Node | None:
    try:
        node: Node | None = yaml.compose(content.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        problems.report(content.count(b"\n", 0, error.start) + 1, "is not UTF-8")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.report(mark.line + 1 if mark else 1, f"is not YAML: {error.problem or error.context}")
    except yaml.YAMLError:
        problems.report(1, "is not YAML: it holds characters that YAML does not allow")
    except RecursionError:
        problems.report(1, "is nested too deeply")
    else:
        return node
    return None


def _read(root: Section, file: str) -> Config:
    _refuse_plans(root)
    config = Config(
        providers=read_providers(root),
        models=read_models(root),
        aliases=_aliases(root),
        routing=_routing(root),
        policies=_policies(root),
        network=_network(root),
        file=file,
    )
    root.close()
    return config


def _aliases(root: Section) -> tuple[AliasConfig, ...]:
    section = root.section("aliases")
    if section is None:
        return ()
    return tuple(_alias(section, name, line) for name, line in section.names())


def _alias(section: Section, name: str, line: int) -> AliasConfig:
    check_id(section, name, name)
    if not section.holds_list(name):
        return AliasConfig(name, (AliasTargetConfig(section.required(name), line=line),), line)
    targets = tuple(_target(each) for each in section.sections(name))
    if not targets:
        section.problem(f"{name}: must name at least one model", name)
    return AliasConfig(name, targets, line)


def _target(section: Section) -> AliasTargetConfig:
    weight = section.integer("weight", least=1, most=MOST_WEIGHT) or 1
    target = AliasTargetConfig(section.required("model"), weight, section.line)
    section.close()
    return target


def _routing(root: Section) -> RoutingConfig:
    section = root.section("routing")
    if section is None:
        return RoutingConfig()
    objective = section.choice("default_objective", OBJECTIVES, "balanced")
    chains = section.section("fallbacks")
    section.close()
    if chains is None:
        return RoutingConfig(objective)
    return RoutingConfig(
        objective, tuple(FallbackConfig(model, chains.texts(model), line) for model, line in chains.names())
    )


def _refuse_plans(root: Section) -> None:
    section = root.section("plans")
    for name, line in section.names() if section is not None else ():
        root.problem_at(line, f"plans: '{name}' cannot be set; a plan's limits are the policy of its name")


def _policies(root: Section) -> tuple[PolicyConfig, ...]:
    section = root.section("policies")
    if section is None:
        return ()
    return tuple(_policy(section, name, line) for name, line in section.names() if section.has(name))


def _policy(policies: Section, name: str, line: int) -> PolicyConfig:
    section = policies.section(name)
    if section is None:
        return PolicyConfig(name, (), line=line)
    limits = section.section("limits")
    policy = PolicyConfig(
        name=name,
        limits=() if limits is None else _limits(limits),
        per_address=section.switch("per_address", default=False),
        line=line,
    )
    section.close()
    return policy


def _limits(section: Section) -> tuple[LimitConfig, ...]:
    found = ((each, section.section(each)) for each in RATE_CLASSES)
    limits = tuple(_limit(each, figures) for each, figures in found if figures is not None)
    section.close()
    return limits


def _limit(rate_class: str, section: Section) -> LimitConfig:
    limit = LimitConfig(
        rate_class=rate_class,
        requests_per_minute=section.integer("requests_per_minute", least=1, most=_MOST_PER_MINUTE),
        tokens_per_minute=section.integer("tokens_per_minute", least=1, most=_MOST_PER_MINUTE),
        burst=section.integer("burst", least=1, most=_MOST_PER_MINUTE),
    )
    section.close()
    return limit


def _network(root: Section) -> NetworkConfig:
    section = root.section("network")
    if section is None:
        return NetworkConfig()
    network = NetworkConfig(section.converted("allowed", _address_range))
    section.close()
    return network


def _address_range(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an address range such as 10.0.0.0/8") from None
