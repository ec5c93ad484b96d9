"""Every variable in the manifests is a setting and has a value that its owner takes; secrets come from Secrets, each
only where it is used."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate_settings import HostPort, SettingsError, load
from headgate_settings.config import parse_config
from headgate_settings.environment import check_unknown, declarations

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"

Object = dict[str, Any]
Objects = list[Object]

SERVED_BY_ALL = {"HEADGATE_DATA", "HEADGATE_CONFIG", "HEADGATE_OPS", "HEADGATE_SUITE_SECRET"}
# What nobody else may hold, and who needs it.
HOLDERS = {
    "HEADGATE_AUTH_PEPPER": {"auth"},
    "HEADGATE_BOOTSTRAP_KEY": {"auth"},
    "HEADGATE_DATABASE_URL": {"auth", "metering"},
    "HEADGATE_REDIS_URL": {"metering"},
    "OPENAI_API_KEY": {"inference"},
}


def settings_classes() -> list[type[object]]:
    """Every settings class of the project."""
    found = []
    for folder in ("libs/*", "services/*", "gateway"):
        for file in ROOT.glob(f"{folder}/headgate_*/*settings.py"):
            module = importlib.import_module(f"{file.parent.name}.{file.stem}")
            found += [
                each
                for each in vars(module).values()
                if hasattr(each, "__dataclass_fields__") and each.__module__ == module.__name__
            ]
    return found


def secrets() -> dict[str, dict[str, str]]:
    """The Secrets that an operator makes, by name, as the template has them."""
    template = yaml.safe_load_all((K8S / "secrets.example.yaml").read_text())
    return {each["metadata"]["name"]: each["stringData"] for each in template}


def environments(objects: Objects) -> dict[str, dict[str, str | None]]:
    """The variables of each workload, by its short name; None for what comes from a Secret."""
    maps = {
        each["metadata"]["name"]: each.get("data") or {} for each in objects if each["kind"] == "ConfigMap"
    }
    found: dict[str, dict[str, str | None]] = {}
    for each in objects:
        if each["kind"] not in {"Deployment", "StatefulSet"}:
            continue
        (container,) = each["spec"]["template"]["spec"]["containers"]
        variables = found.setdefault(each["metadata"]["name"].removeprefix("headgate-"), {})
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                variables |= dict.fromkeys(secrets()[source["secretRef"]["name"]])
            else:
                variables |= maps[source["configMapRef"]["name"]]
        for entry in container.get("env", []):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            assert reference is None or reference["key"] in secrets()[reference["name"]]
            variables[entry["name"]] = entry.get("value")
    return found


def unusable(objects: Objects) -> Iterator[str]:
    """Variables that no settings class declares, and values that their owner refuses."""
    for name, variables in environments(objects).items():
        given = {key: "" if value is None else value for key, value in variables.items()}
        try:
            check_unknown(given, settings_classes())
            for each in settings_classes():
                load(each, given)
        except SettingsError as error:
            yield from (f"{name}: {problem}" for problem in error.problems)


def missing(objects: Objects) -> Iterator[str]:
    """Variables without which a process could not be reached, or not be known to the others."""
    for name, variables in environments(objects).items():
        own = {"HEADGATE_HTTP"} if name == "gateway" else {f"HEADGATE_{name.upper()}_LISTEN"}
        yield from (f"{name}: {key}" for key in (SERVED_BY_ALL | own) - set(variables))
        for key, value in variables.items():
            address = key.endswith("_LISTEN") or key in {"HEADGATE_HTTP", "HEADGATE_OPS"}
            if address and HostPort.parse(value or "").host != "0.0.0.0":
                yield f"{name}: {key} is for this pod alone"


def scattered_secrets(objects: Objects) -> Iterator[str]:
    """Secrets where they are not needed, missing where they are, or written out."""
    production = any("HEADGATE_DATABASE_URL" in each for each in environments(objects).values())
    for key, holders in HOLDERS.items():
        have = {
            name
            for name, variables in environments(objects).items()
            if key in variables and variables[key] is None
        }
        needed = holders if production or not key.endswith("_URL") else set()
        if key == "OPENAI_API_KEY":  # optional, and not in the template
            needed = set()
        if have != needed:
            yield f"{key}: {sorted(have)} have it, {sorted(needed)} need it"
    for each in objects:
        if each["kind"] == "Secret":
            yield f"the Secret {each['metadata']['name']} is in the manifests"
    written = [
        item for each in objects if each["kind"] == "ConfigMap" for item in (each.get("data") or {}).items()
    ]
    for variables in environments(objects).values():
        written += variables.items()
    for key, value in written:
        if value and re.search(r"SECRET|PEPPER|PASSWORD|BOOTSTRAP_KEY|_URL$", key):
            yield f"{key} is written out"


def unknown_targets(objects: Objects) -> Iterator[str]:
    """Targets that are not the DNS name and the port of a headless Service of the suite."""
    services = {
        f"dns:///{each['metadata']['name']}:{each['spec']['ports'][0]['port']}"
        for each in objects
        if each["kind"] == "Service" and each["spec"].get("clusterIP") == "None"
    }
    for name, variables in environments(objects).items():
        targets = {key: value for key, value in variables.items() if key.endswith("_TARGET")}
        if set(targets.values()) != services:
            yield f"{name}: {targets}"


RULES = [unusable, missing, scattered_secrets, unknown_targets]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_variables_keep_the_rule(rule: Callable[[Objects], Iterator[str]], objects: Objects) -> None:
    assert list(rule(objects)) == []


def test_the_ports_are_the_defaults_of_the_settings() -> None:
    defaults = {each.env: each.default for each in _all_declarations()}
    lines = (K8S / "base" / "config" / "environment.env").read_text().splitlines()
    written = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    listens = {key: value for key, value in written.items() if key.endswith("_LISTEN")}
    assert len(listens) == 5
    for key, value in {**listens, **{k: written[k] for k in ("HEADGATE_HTTP", "HEADGATE_OPS")}}.items():
        default = defaults[key]
        assert isinstance(default, HostPort)
        assert HostPort.parse(value).port == default.port


def _all_declarations() -> Iterator[Any]:
    for each in settings_classes():
        yield from declarations(each)


def test_the_template_of_secrets_holds_none() -> None:
    assert set(secrets()) == {"headgate-suite", "headgate-auth", "headgate-database", "headgate-providers"}
    assert {value for values in secrets().values() for value in values.values()} == {""}


def test_the_configuration_file_is_one() -> None:
    content = (K8S / "base" / "config" / "headgate.yaml").read_bytes()
    assert parse_config(content, "headgate.yaml", {}).models == ()


def _environment(objects: Objects) -> Object:
    found: Object
    (found,) = (
        each["data"] for each in objects if each["metadata"]["name"].startswith("headgate-environment")
    )
    return found


def _container(objects: Objects, name: str) -> Object:
    found: Object
    (found,) = (
        each["spec"]["template"]["spec"]["containers"][0]
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet"} and each["metadata"]["name"] == name
    )
    return found


BREAKS: list[tuple[Callable[[Objects], Iterator[str]], Callable[[Objects], object]]] = [
    (unusable, lambda o: _environment(o).update(HEADGATE_GRACEFUL="1")),
    (unusable, lambda o: _environment(o).update(HEADGATE_GRACE="120")),
    (missing, lambda o: _environment(o).pop("HEADGATE_AUTH_LISTEN")),
    (missing, lambda o: _environment(o).update(HEADGATE_OPS="127.0.0.1:9464")),
    (missing, lambda o: _container(o, "headgate-auth")["envFrom"].pop(1)),
    (
        scattered_secrets,
        lambda o: _container(o, "headgate-routing")["envFrom"].append(
            {"secretRef": {"name": "headgate-auth"}}
        ),
    ),
    (scattered_secrets, lambda o: _container(o, "headgate-auth")["env"].clear()),
    (scattered_secrets, lambda o: _environment(o).update(HEADGATE_SUITE_SECRET="hunter2")),
    (scattered_secrets, lambda o: o.append({"kind": "Secret", "metadata": {"name": "headgate-suite"}})),
    (unknown_targets, lambda o: _environment(o).update(HEADGATE_AUTH_TARGET="dns:///auth:50052")),
]


@pytest.mark.parametrize(("rule", "damage"), BREAKS)
def test_a_broken_environment_is_found(
    rule: Callable[[Objects], Iterator[str]], damage: Callable[[Objects], object], production: Objects
) -> None:
    damage(production)
    assert list(rule(production)) != []
