"""R41: every pod meets the Pod Security Standard *restricted*, writes to its data and to /tmp alone, holds no token,
and runs an image that cannot change under its name."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Object = dict[str, Any]
Objects = list[Object]

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
WRITABLE = {"/tmp", "/var/lib/headgate"}


def workloads(objects: Objects) -> list[Object]:
    return [each for each in objects if each["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}]


def pods(objects: Objects) -> Iterator[tuple[str, Object]]:
    for each in workloads(objects):
        yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def not_restricted(objects: Objects) -> Iterator[str]:
    """Kubernetes' Pod Security Standards, profile *restricted*, control by control."""
    for name, pod in pods(objects):
        context = pod.get("securityContext", {})
        if any(pod.get(each) for each in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name}: host namespaces"
        for volume in pod.get("volumes", []):
            if not set(volume) - {"name"} <= ALLOWED_VOLUMES:
                yield f"{name}: volume {volume['name']}"
        for container in containers(pod):
            own = container.get("securityContext", {})
            if not own.get("runAsNonRoot", context.get("runAsNonRoot")):
                yield f"{name}: may be root"
            if not own.get("runAsUser", context.get("runAsUser")):
                yield f"{name}: no numeric user"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{name}: privileges"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
                yield f"{name}: capabilities"
            profile = own.get("seccompProfile", context.get("seccompProfile", {}))
            if profile.get("type") not in {"RuntimeDefault", "Localhost"}:
                yield f"{name}: seccomp"
            if any(port.get("hostPort") for port in container.get("ports", [])):
                yield f"{name}: host port"


def not_enforced(objects: Objects) -> Iterator[str]:
    """The namespace refuses what is not restricted, and everything lives in that namespace."""
    (namespace,) = (each["metadata"] for each in objects if each["kind"] == "Namespace")
    if namespace["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace does not enforce it"
    for each in objects:
        everywhere = each["kind"] in {"Namespace", "PriorityClass"}
        if not everywhere and each["metadata"].get("namespace") != namespace["name"]:
            yield f"{each['kind']} {each['metadata']['name']} is elsewhere"


def writable(objects: Objects) -> Iterator[str]:
    """What could be written to besides the data folder and /tmp."""
    for name, pod in pods(objects):
        for container in containers(pod):
            if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                yield f"{name}: the root"
            for mount in container.get("volumeMounts", []):
                if not mount.get("readOnly") and mount["mountPath"] not in WRITABLE:
                    yield f"{name}: {mount['mountPath']}"


def tokens(objects: Objects) -> Iterator[str]:
    """Who could speak to the cluster's API: nobody has reason to."""
    for name, pod in pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: token mounted"
        if pod.get("serviceAccountName") != name:
            yield f"{name}: no account of its own"
    accounts = {each["metadata"]["name"] for each in objects if each["kind"] == "ServiceAccount"}
    yield from (f"{name}: no such account" for name, pod in pods(objects) if name not in accounts)


def loose_images(objects: Objects) -> Iterator[str]:
    """Images whose content can change: no tag, or `latest`."""
    for name, pod in pods(objects):
        for container in containers(pod):
            image = container["image"]
            tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
            if "@sha256:" not in image and tag in {"", "latest"}:
                yield f"{name}: {image}"


def unpinned_images(objects: Objects) -> Iterator[str]:
    """Images that are not named by digest."""
    for name, pod in pods(objects):
        for container in containers(pod):
            if not re.search(r"@sha256:[0-9a-f]{64}$", container["image"]):
                yield f"{name}: {container['image']}"


def unbounded(objects: Objects) -> Iterator[str]:
    """Requests for the scheduler, a limit of memory; no limit of CPU, which would stall the event loop."""
    for name, pod in pods(objects):
        for container in containers(pod):
            resources = container.get("resources", {})
            if set(resources.get("requests", {})) != {"cpu", "memory"}:
                yield f"{name}: requests"
            if set(resources.get("limits", {})) != {"memory"}:
                yield f"{name}: limits"
        if not pod.get("priorityClassName"):
            yield f"{name}: priority"


RULES = [not_restricted, not_enforced, writable, tokens, loose_images, unbounded]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_pod_keeps_the_rule(rule: Callable[[Objects], Iterator[str]], objects: Objects) -> None:
    assert len(workloads(objects)) == 6
    assert list(rule(objects)) == []


def test_production_names_its_image_by_digest(production: Objects) -> None:
    assert list(unpinned_images(production)) == []


def _first(objects: Objects) -> Object:
    pod: Object = workloads(objects)[0]["spec"]["template"]["spec"]
    return pod


# The rule that must notice, and what is done to the first pod.
BREAKS: list[tuple[Callable[[Objects], Iterator[str]], Callable[[Object], object]]] = [
    (not_restricted, lambda pod: pod["securityContext"].pop("runAsNonRoot")),
    (not_restricted, lambda pod: pod["securityContext"].pop("seccompProfile")),
    (not_restricted, lambda pod: pod["securityContext"].update(runAsUser=0)),
    (not_restricted, lambda pod: pod.update(hostNetwork=True)),
    (not_restricted, lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})),
    (not_restricted, lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")),
    (not_restricted, lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["X"])),
    (not_restricted, lambda pod: pod["containers"].append({"name": "sidecar", "image": "x:1"})),
    (writable, lambda pod: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem")),
    (writable, lambda pod: pod["containers"][0]["volumeMounts"].append({"name": "x", "mountPath": "/etc"})),
    (tokens, lambda pod: pod.pop("automountServiceAccountToken")),
    (tokens, lambda pod: pod.update(serviceAccountName="default")),
    (loose_images, lambda pod: pod["containers"][0].update(image="registry.example.com:5000/headgate")),
    (loose_images, lambda pod: pod["containers"][0].update(image="headgate:latest")),
    (unpinned_images, lambda pod: pod["containers"][0].update(image="headgate:1.2.3")),
    (unbounded, lambda pod: pod["containers"][0]["resources"].pop("limits")),
    (unbounded, lambda pod: pod.pop("priorityClassName")),
]


@pytest.mark.parametrize(("rule", "damage"), BREAKS)
def test_a_broken_pod_is_found(
    rule: Callable[[Objects], Iterator[str]], damage: Callable[[Object], object], production: Objects
) -> None:
    damage(_first(production))
    assert list(rule(production)) != []


def test_a_namespace_that_lets_everything_in_is_found(production: Objects) -> None:
    (namespace,) = (each for each in production if each["kind"] == "Namespace")
    namespace["metadata"]["labels"] = {}
    assert list(not_enforced(production)) != []


def test_an_object_outside_the_namespace_is_found(production: Objects) -> None:
    workloads(production)[0]["metadata"]["namespace"] = "default"
    assert list(not_enforced(production)) != []
