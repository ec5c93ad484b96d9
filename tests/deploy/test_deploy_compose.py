"""The compose file, read: the same services, settings and precautions as on a cluster."""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate_settings.quantities import parse_duration

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

Object = dict[str, Any]

SUITE = {"gateway", "inference", "auth", "registry", "routing", "metering"}


@cache
def _compose() -> Object:
    content: Object = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


@pytest.fixture
def compose() -> Object:
    """The file; a copy, to be broken at will."""
    return deepcopy(_compose())


def environment_of_base() -> dict[str, str]:
    """The variables that pods have on a cluster, with the targets' names as they are here."""
    lines = (DEPLOY / "k8s" / "base" / "config" / "environment.env").read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {key: value.replace("dns:///headgate-", "dns:///") for key, value in pairs.items()}


def problems(compose: Object) -> Iterator[str]:
    """What is wrong with the file."""
    services = compose["services"]
    if set(services) != SUITE | {"postgresql", "redis"}:
        yield f"services: {sorted(services)}"
    for name, service in services.items():
        yield from (f"{name}: {each}" for each in _everywhere(service, compose))
        if name in SUITE:
            yield from (f"{name}: {each}" for each in _of_the_suite(name, service))
    if not compose["networks"]["inside"]["internal"]:
        yield "the inside has a way out"


def _everywhere(service: Object, compose: Object) -> Iterator[str]:
    tag = service["image"].rpartition("/")[2].partition(":")[2]
    if tag in {"", "latest"}:
        yield "an image without a version"
    if not service.get("healthcheck"):
        yield "no health check"
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"{port} is open to the network"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            if not (DEPLOY / source).exists():
                yield f"{source} does not exist"
        elif source not in compose["volumes"]:
            yield f"{source} is no volume"


def _of_the_suite(name: str, service: Object) -> Iterator[str]:
    if service["command"] != ["serve", name]:
        yield "runs something else"
    if (service.get("user"), service.get("read_only"), service.get("cap_drop")) != (
        "10001:10001",
        True,
        ["ALL"],
    ):
        yield "may do too much"
    if service.get("security_opt") != ["no-new-privileges:true"]:
        yield "may become more"
    written = [volume.split(":")[1] for volume in service.get("volumes", []) if not volume.endswith(":ro")]
    written += [mount.split(":")[0] for mount in service["tmpfs"]]
    if sorted(written) != ["/tmp", "/var/lib/headgate"]:
        yield f"writes to {written}"
    environment = service["environment"]
    for key, value in environment_of_base().items():
        if environment.get(key) != value:
            yield f"{key} is {environment.get(key)}, on a cluster {value}"
    waits = (environment.get(name, "0") for name in ("HEADGATE_DRAIN_WAIT", "HEADGATE_GRACE"))
    if parse_duration(service["stop_grace_period"]) < sum(map(parse_duration, waits)) + 20:
        yield "is killed before its calls had their grace"
    yield from _secrets(name, environment)


def _secrets(name: str, environment: dict[str, str]) -> Iterator[str]:
    holders = {
        "HEADGATE_SUITE_SECRET": SUITE,
        "HEADGATE_AUTH_PEPPER": {"auth"},
        "HEADGATE_BOOTSTRAP_KEY": {"auth"},
        "HEADGATE_DATABASE_URL": {"auth", "metering"},
        "HEADGATE_REDIS_URL": {"metering"},
    }
    for key, needed in holders.items():
        if (key in environment) != (name in needed):
            yield f"{key}: here or not here"
    for key, value in environment.items():
        if re.search(r"SECRET|PEPPER|_KEY$|DATABASE_URL", key) and "${" not in value:
            yield f"{key} is written out"
    if name != "inference" and "OPENAI_API_KEY:-" in environment.get("OPENAI_API_KEY", ""):
        yield "holds a provider's key"


def asked_for() -> set[str]:
    """The variables that the file takes from the operator."""
    return set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))


def test_the_file_keeps_the_rules(compose: Object) -> None:
    assert list(problems(compose)) == []


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    lines = (DEPLOY / "compose.env.example").read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(pairs) == asked_for()
    assert set(pairs.values()) == {""}


BREAKS: list[Callable[[Object], object]] = [
    lambda c: c["services"].pop("routing"),
    lambda c: c["services"]["auth"].update(image="headgate:latest"),
    lambda c: c["services"]["redis"].update(image="redis"),
    lambda c: c["services"]["redis"].pop("healthcheck"),
    lambda c: c["services"]["gateway"].update(ports=["8080:8080"]),
    lambda c: c["services"]["auth"].update(volumes=["authentication:/var/lib/headgate"]),
    lambda c: c["services"]["auth"].update(volumes=["auth:/data"]),
    lambda c: c["services"]["auth"].update(user="root"),
    lambda c: c["services"]["auth"].pop("read_only"),
    lambda c: c["services"]["auth"].update(command=["serve", "routing"]),
    lambda c: c["services"]["auth"].update(stop_grace_period="10s"),
    lambda c: c["services"]["auth"]["environment"].update(HEADGATE_AUTH_PEPPER="hunter2"),
    lambda c: c["services"]["auth"]["environment"].update(HEADGATE_OPS="127.0.0.1:9464"),
    lambda c: c["services"]["routing"]["environment"].update(OPENAI_API_KEY="${OPENAI_API_KEY:-}"),
    lambda c: c["services"]["metering"]["environment"].pop("HEADGATE_REDIS_URL"),
    lambda c: c["networks"]["inside"].update(internal=False),
]


@pytest.mark.parametrize("damage", BREAKS)
def test_a_broken_file_is_found(damage: Callable[[Object], object], compose: Object) -> None:
    damage(compose)
    assert list(problems(compose)) != []
