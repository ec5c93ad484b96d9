"""Every object is one that Kubernetes knows, without a field that it does not know."""

from collections.abc import Iterator
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

Objects = list[dict[str, Any]]

# The oldest release whose fields are used (the preStop sleep), and the newest that the checker knows.
VERSIONS = ("1.30", "1.37")
# Kinds of the Prometheus operator: no schema here, tests of their own.
FOREIGN_KINDS = {"PodMonitor", "PrometheusRule"}


def faults(objects: Objects, version: str) -> Iterator[str]:
    """What an API server of that version would refuse."""
    for each in objects:
        if each["kind"] in FOREIGN_KINDS:
            continue
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{each['kind']} {each['metadata']['name']}: {error.message}"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_takes_everything(objects: Objects, version: str) -> None:
    assert list(faults(objects, version)) == []


def test_the_api_takes_no_misspelling(production: Objects) -> None:
    (pod,) = (
        each["spec"]["template"]["spec"]
        for each in production
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "headgate-auth"
    )
    pod["terminationGracePeriod"] = 10
    assert len(list(faults(production, VERSIONS[0]))) == 1


def test_only_the_operators_kinds_are_left_out(objects: Objects) -> None:
    foreign = {each["apiVersion"] for each in objects if each["kind"] in FOREIGN_KINDS}
    assert foreign <= {"monitoring.coreos.com/v1"}


def test_names_are_used_once(objects: Objects) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
