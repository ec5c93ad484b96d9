"""R41: nothing is taken down twice at once, a slow neighbour kills nobody, a running call is waited for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headgate_settings.quantities import parse_duration

Object = dict[str, Any]
Objects = list[Object]

# After HEADGATE_GRACE: the journal is sent, spans leave.
FLUSH_S = 20


def of_kind(objects: Objects, *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def workloads(objects: Objects) -> list[Object]:
    return of_kind(objects, "Deployment", "StatefulSet")


def labels_of(workload: Object) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels only, and not empty) takes these labels."""
    wanted = selector.get("matchLabels", {})
    return bool(wanted) and wanted.items() <= labels.items()


def replicas(objects: Objects, workload: Object) -> int:
    """How many there are at least: what an autoscaler keeps, else what is written."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"]):
            return int(scaler["spec"]["minReplicas"])
    return int(workload["spec"].get("replicas", 1))


def single(objects: Objects) -> Iterator[str]:
    """Workloads of which there is but one."""
    for each in workloads(objects):
        if replicas(objects, each) < 2:
            yield each["metadata"]["name"]


def unprotected(objects: Objects) -> Iterator[str]:
    """Workloads of two and more that a node drain could empty, or that may all sit on one node."""
    for each in workloads(objects):
        name, labels = each["metadata"]["name"], labels_of(each)
        if replicas(objects, each) < 2:
            continue
        budgets = [
            b for b in of_kind(objects, "PodDisruptionBudget") if selects(b["spec"]["selector"], labels)
        ]
        if [budget["spec"].get("maxUnavailable") for budget in budgets] != [1]:
            yield f"{name}: no disruption budget of its own"
        spread = each["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        keys = {s["topologyKey"] for s in spread if s["maxSkew"] == 1 and selects(s["labelSelector"], labels)}
        if keys != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"{name}: not spread"


def mixed_selectors(objects: Objects) -> Iterator[str]:
    """Selectors that do not take their own pods, or take those of others too."""
    for each in workloads(objects):
        taken = [
            w["metadata"]["name"]
            for w in workloads(objects)
            if selects(each["spec"]["selector"], labels_of(w))
        ]
        if taken != [each["metadata"]["name"]]:
            yield f"{each['metadata']['name']} takes {taken}"


def written_twice(objects: Objects) -> Iterator[str]:
    """Autoscaled workloads whose manifest has a count too: each apply would undo the autoscaler."""
    scaled = {s["spec"]["scaleTargetRef"]["name"] for s in of_kind(objects, "HorizontalPodAutoscaler")}
    known = {each["metadata"]["name"] for each in workloads(objects)}
    yield from scaled - known
    for each in workloads(objects):
        if each["metadata"]["name"] in scaled and "replicas" in each["spec"]:
            yield each["metadata"]["name"]


def probes_of_others(objects: Objects) -> Iterator[str]:
    """Being restarted must depend on the process alone; being asked must depend on readiness."""
    wanted = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for each in workloads(objects):
        for container in each["spec"]["template"]["spec"]["containers"]:
            for probe, path in wanted.items():
                if container.get(probe, {}).get("httpGet") != {"path": path, "port": "ops"}:
                    yield f"{each['metadata']['name']}: {probe}"
            live = container.get("livenessProbe", {})
            # A loop that is busy for half a minute is no reason to cut every call it holds.
            if live.get("periodSeconds", 10) * live.get("failureThreshold", 3) < 30:
                yield f"{each['metadata']['name']}: impatient"


def impatient(objects: Objects) -> Iterator[str]:
    """Pods that the kubelet would kill before their calls had their grace."""
    (environment,) = (
        each["data"]
        for each in of_kind(objects, "ConfigMap")
        if each["metadata"]["name"].startswith("headgate-environment")
    )
    for each in workloads(objects):
        pod = each["spec"]["template"]["spec"]
        hook = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if not hook:
            yield f"{each['metadata']['name']}: no preStop"
        waits = (environment[name] for name in ("HEADGATE_DRAIN_WAIT", "HEADGATE_GRACE"))
        needed = hook + sum(map(parse_duration, waits)) + FLUSH_S
        if pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{each['metadata']['name']}: less than {needed:g} s"


def two_writers(objects: Objects) -> Iterator[str]:
    """Deployments on a claim: SQLite has one writer, so the old pod ends before the new one begins."""
    for each in of_kind(objects, "Deployment"):
        volumes = each["spec"]["template"]["spec"].get("volumes", [])
        claimed = any("persistentVolumeClaim" in volume for volume in volumes)
        careful = each["spec"]["strategy"]["type"] == "Recreate" and replicas(objects, each) == 1
        if claimed and not careful:
            yield str(each["metadata"]["name"])


def forgetful(objects: Objects) -> Iterator[str]:
    """A journal that would go with its pod, and services that keep their state nowhere."""
    for each in workloads(objects):
        name, pod = each["metadata"]["name"], each["spec"]["template"]["spec"]
        claimed = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        claimed |= {volume["name"] for volume in pod.get("volumes", []) if "persistentVolumeClaim" in volume}
        database = {entry["name"] for entry in pod["containers"][0].get("env", [])}
        if name == "headgate-inference" and "data" not in claimed:
            yield name
        kept = "data" in claimed or "HEADGATE_DATABASE_URL" in database
        if name in {"headgate-auth", "headgate-metering"} and not kept:
            yield name


RULES = [
    unprotected,
    mixed_selectors,
    written_twice,
    probes_of_others,
    impatient,
    two_writers,
    forgetful,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_workload_keeps_the_rule(rule: Callable[[Objects], Iterator[str]], objects: Objects) -> None:
    assert list(rule(objects)) == []


def test_production_has_two_of_everything(production: Objects) -> None:
    assert list(single(production)) == []


def _named(objects: Objects, kind: str, name: str) -> Object:
    (found,) = (each for each in of_kind(objects, kind) if each["metadata"]["name"] == name)
    return found


def _pod(objects: Objects) -> Object:
    pod: Object = _named(objects, "Deployment", "headgate-auth")["spec"]["template"]["spec"]
    return pod


BREAKS: list[tuple[Callable[[Objects], Iterator[str]], Callable[[Objects], object]]] = [
    (single, lambda o: _named(o, "Deployment", "headgate-auth")["spec"].pop("replicas")),
    (
        single,
        lambda o: _named(o, "HorizontalPodAutoscaler", "headgate-gateway")["spec"].update(minReplicas=1),
    ),
    (unprotected, lambda o: o.remove(_named(o, "PodDisruptionBudget", "headgate-auth"))),
    (unprotected, lambda o: o.remove(_named(o, "PodDisruptionBudget", "headgate-gateway"))),
    (unprotected, lambda o: _pod(o)["topologySpreadConstraints"].pop()),
    (
        unprotected,
        lambda o: _pod(o)["topologySpreadConstraints"][0]["labelSelector"].update(matchLabels={"a": "b"}),
    ),
    (
        mixed_selectors,
        lambda o: _named(o, "Deployment", "headgate-auth")["spec"]["selector"].update(
            matchLabels={"app.kubernetes.io/part-of": "headgate"}
        ),
    ),
    (mixed_selectors, lambda o: labels_of(_named(o, "Deployment", "headgate-auth")).clear()),
    (written_twice, lambda o: _named(o, "Deployment", "headgate-gateway")["spec"].update(replicas=2)),
    (written_twice, lambda o: o.remove(_named(o, "StatefulSet", "headgate-inference"))),
    (probes_of_others, lambda o: _pod(o)["containers"][0]["livenessProbe"]["httpGet"].update(path="/readyz")),
    (probes_of_others, lambda o: _pod(o)["containers"][0]["startupProbe"]["httpGet"].update(path="/readyz")),
    (probes_of_others, lambda o: _pod(o)["containers"][0]["livenessProbe"].update(failureThreshold=1)),
    (impatient, lambda o: _pod(o).update(terminationGracePeriodSeconds=120)),
    (impatient, lambda o: _pod(o)["containers"][0].pop("lifecycle")),
    (forgetful, lambda o: _named(o, "StatefulSet", "headgate-inference")["spec"].pop("volumeClaimTemplates")),
    (forgetful, lambda o: _pod(o)["containers"][0].pop("env")),
]


@pytest.mark.parametrize(("rule", "damage"), BREAKS)
def test_a_broken_workload_is_found(
    rule: Callable[[Objects], Iterator[str]], damage: Callable[[Objects], object], production: Objects
) -> None:
    damage(production)
    assert list(rule(production)) != []


def test_two_writers_on_one_file_are_found(dev: Objects) -> None:
    _named(dev, "Deployment", "headgate-auth")["spec"]["replicas"] = 2
    assert list(two_writers(dev)) == ["headgate-auth"]
