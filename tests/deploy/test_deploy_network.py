"""R41: nothing may talk but along the calls that the code makes, and every port that is named is one that is
served."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from headgate_testing.shapes import SERVICES

ROOT = Path(__file__).resolve().parents[2]

Object = dict[str, Any]
Objects = list[Object]
Edge = tuple[str, str, int]

GRPC_PORTS = {"inference": 50051, "auth": 50052, "registry": 50053, "routing": 50054, "metering": 50055}
PUBLIC = {"0.0.0.0/0", "::/0"}
# Where nothing on the internet is: a provider's address may not lead back into the cluster or to cloud metadata.
INSIDE = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"}


def clients_of(folder: Path) -> set[str]:
    """The services whose clients a package imports."""
    found = set()
    for module in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headgate_clients."):
                found.add((node.module or "").rpartition(".")[2])
    return found


@cache
def calls() -> frozenset[Edge]:
    """Who calls whom, as the code has it: a service's own clients, and for all that serve gRPC those of admission.
    A service reaches itself without the network."""
    admission = clients_of(ROOT / "libs" / "admission")
    edges = {("gateway", callee) for callee in clients_of(ROOT / "gateway")}
    for name in SERVICES:
        for callee in clients_of(ROOT / "services" / name) | admission:
            edges.add((name, callee))
    return frozenset((caller, callee, GRPC_PORTS[callee]) for caller, callee in edges if caller != callee)


def of_kind(objects: Objects, kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def pods(objects: Objects) -> dict[str, dict[str, str]]:
    """The labels of each service's pods, by the service's short name."""
    return {
        each["metadata"]["name"].removeprefix("headgate-"): each["spec"]["template"]["metadata"]["labels"]
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet"}
    }


def takes(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels; an empty one takes all."""
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def policies_of(
    objects: Objects, labels: dict[str, str], direction: str
) -> Iterator[tuple[Object, set[int]]]:
    """Each peer that policies let pods with these labels talk to, with its ports; {} stands for anybody."""
    for policy in of_kind(objects, "NetworkPolicy"):
        if not takes(policy["spec"]["podSelector"], labels) or direction not in policy["spec"]["policyTypes"]:
            continue
        for rule in policy["spec"].get(direction.lower(), []):
            ports = {port["port"] for port in rule.get("ports", [])} or {0}
            for peer in rule.get("from" if direction == "Ingress" else "to", [{}]):
                yield peer, ports


def peers_within(objects: Objects, name: str, direction: str) -> set[tuple[str, int]]:
    """The suite's own services that a service may talk to in one direction."""
    everybody = pods(objects)
    return {
        (other, port)
        for peer, ports in policies_of(objects, everybody[name], direction)
        if set(peer) == {"podSelector"}
        for other, labels in everybody.items()
        if takes(peer["podSelector"], labels)
        for port in ports
    }


def outgoing(objects: Objects) -> set[Edge]:
    return {(name, *peer) for name in pods(objects) for peer in peers_within(objects, name, "Egress")}


def incoming(objects: Objects) -> set[Edge]:
    return {
        (caller, name, port)
        for name in pods(objects)
        for caller, port in peers_within(objects, name, "Ingress")
    }


def wrong_edges(objects: Objects) -> Iterator[str]:
    """Differences between what may be called and what is called, on both sides."""
    for side in (outgoing(objects), incoming(objects)):
        yield from (f"not allowed: {edge}" for edge in calls() - side)
        yield from (f"nobody needs: {edge}" for edge in side - calls())


def not_denied(objects: Objects) -> Iterator[str]:
    """One policy that takes every pod and allows nothing, in both directions."""
    denying = [
        policy
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["spec"]["podSelector"] == {}
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not policy["spec"].get("ingress")
        and not policy["spec"].get("egress")
    ]
    if len(denying) != 1:
        yield "no default deny"


def outside(objects: Objects) -> dict[str, set[tuple[str, int]]]:
    """What each service may talk to beyond the suite: a namespace or `internet`, or `anybody` towards us."""
    found: dict[str, set[tuple[str, int]]] = {}
    for name, labels in pods(objects).items():
        beyond = found.setdefault(name, set())
        for direction in ("Ingress", "Egress"):
            for peer, ports in policies_of(objects, labels, direction):
                if set(peer) != {"podSelector"}:
                    beyond |= {(f"{direction}: {_place(peer)}", port) for port in ports}
    return found


def _place(peer: Object) -> str:
    if not peer:
        return "anybody"
    if "ipBlock" in peer:
        return "internet" if peer["ipBlock"]["cidr"] in PUBLIC else str(peer["ipBlock"]["cidr"])
    labels = peer["namespaceSelector"].get("matchLabels", {})
    return str(labels.get("kubernetes.io/metadata.name", labels))


def expected_outside(objects: Objects) -> dict[str, set[tuple[str, int]]]:
    """All that there is to reach out for."""
    settings: dict[str, str] = {}
    for each in of_kind(objects, "ConfigMap"):
        settings |= each["data"] if each["metadata"]["name"].startswith("headgate-environment") else {}
    result = {}
    for name in pods(objects):
        beyond = {("Egress: kube-system", 53), ("Ingress: monitoring", 9464)}
        if "HEADGATE_OTLP_ENDPOINT" in settings:
            beyond.add(("Egress: observability", 4317))
        if name == "gateway":
            beyond.add(("Ingress: anybody", 8080))
        if name == "inference":
            beyond |= {("Egress: internet", 443), ("Ingress: {'headgate-clients': 'allowed'}", 50051)}
        uses = _variables(objects, name)
        if "HEADGATE_DATABASE_URL" in uses:
            beyond.add(("Egress: databases", 5432))
        if "HEADGATE_REDIS_URL" in uses:
            beyond.add(("Egress: databases", 6379))
        result[name] = beyond
    return result


def _variables(objects: Objects, name: str) -> set[str]:
    (workload,) = (
        each
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet"} and each["metadata"]["name"] == f"headgate-{name}"
    )
    return {entry["name"] for entry in workload["spec"]["template"]["spec"]["containers"][0].get("env", [])}


def ways_out(objects: Objects) -> Iterator[str]:
    """Doors to the outside that nobody needs, or that are missing; ways back inside through the internet."""
    actual, wanted = outside(objects), expected_outside(objects)
    for name in actual:
        yield from (f"{name}: {each}" for each in sorted(actual[name] ^ wanted[name]))
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for peer in rule.get("to", []):
                block = peer.get("ipBlock", {})
                if block.get("cidr") == "0.0.0.0/0" and INSIDE - set(block.get("except", [])):
                    yield f"{policy['metadata']['name']}: back into the cluster"


def dead_ports(objects: Objects) -> Iterator[str]:
    """Services without pods, ports that lead to none, names of services that a target has wrong."""
    everybody = pods(objects)
    workloads = [each for each in objects if each["kind"] in {"Deployment", "StatefulSet"}]
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "Service")}
    for name, service in services.items():
        short = name.removeprefix("headgate-")
        taken = [each for each, labels in everybody.items() if service["selector"].items() <= labels.items()]
        if taken != [short]:
            yield f"{name} takes {taken}"
            continue
        (workload,) = (each for each in workloads if each["metadata"]["name"] == name)
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in service["ports"]:
            if named.get(port["targetPort"]) != port["port"]:
                yield f"{name}: {port['name']} leads nowhere"
        # A virtual address would pin each long-lived connection to one pod.
        if (service.get("clusterIP") == "None") != ("grpc" in named):
            yield f"{name}: headless or not"
        if workload["kind"] == "StatefulSet" and workload["spec"]["serviceName"] != name:
            yield f"{name}: governed by nobody"
        ports = {"http": 8080} if short == "gateway" else {"grpc": GRPC_PORTS[short]}
        if named != {**ports, "ops": 9464}:
            yield f"{name}: listens at {named}"
        if container["args"] != ["serve", short]:
            yield f"{name}: runs something else"


RULES = [wrong_edges, not_denied, ways_out, dead_ports]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_network_keeps_the_rule(rule: Callable[[Objects], Iterator[str]], objects: Objects) -> None:
    assert list(rule(objects)) == []


def test_the_call_graph_is_the_one_that_everybody_has_in_mind() -> None:
    graph = {(caller, callee) for caller, callee, _ in calls()}
    assert {callee for caller, callee in graph if caller == "inference"} == set(SERVICES) - {"inference"}
    assert ("routing", "registry") in graph
    assert ("registry", "routing") not in graph
    assert {caller for caller, callee in graph if callee == "inference"} == {"gateway"}


def _policy(objects: Objects, name: str) -> Object:
    (found,) = (each for each in of_kind(objects, "NetworkPolicy") if each["metadata"]["name"] == name)
    return found


def _service(objects: Objects, name: str) -> Object:
    (found,) = (each for each in of_kind(objects, "Service") if each["metadata"]["name"] == name)
    return found


BREAKS: list[tuple[Callable[[Objects], Iterator[str]], Callable[[Objects], object]]] = [
    (not_denied, lambda o: o.remove(_policy(o, "default-deny"))),
    (not_denied, lambda o: _policy(o, "default-deny")["spec"].update(egress=[{}])),
    (not_denied, lambda o: _policy(o, "default-deny")["spec"].update(policyTypes=["Ingress"])),
    (wrong_edges, lambda o: o.remove(_policy(o, "headgate-auth"))),
    (wrong_edges, lambda o: _policy(o, "headgate-routing")["spec"]["egress"].pop()),
    (wrong_edges, lambda o: _policy(o, "headgate-auth")["spec"]["ingress"][0]["from"].pop()),
    (wrong_edges, lambda o: _policy(o, "headgate-auth")["spec"]["ingress"][0]["ports"][0].update(port=50053)),
    (
        wrong_edges,
        lambda o: _policy(o, "headgate-auth")["spec"]["ingress"][0]["from"].append({"podSelector": {}}),
    ),
    (ways_out, lambda o: _policy(o, "headgate-auth")["spec"]["egress"].append({})),
    (
        ways_out,
        lambda o: _policy(o, "headgate-inference")["spec"]["egress"][-1]["ports"].append({"port": 80}),
    ),
    (
        ways_out,
        lambda o: _policy(o, "headgate-inference")["spec"]["egress"][-1]["to"][0]["ipBlock"].pop("except"),
    ),
    (ways_out, lambda o: o.remove(_policy(o, "redis"))),
    (dead_ports, lambda o: _service(o, "headgate-auth")["spec"].pop("clusterIP")),
    (dead_ports, lambda o: _service(o, "headgate-auth")["spec"]["ports"][0].update(port=50059)),
    (dead_ports, lambda o: _service(o, "headgate-auth")["spec"]["ports"][0].update(targetPort="ops")),
    (dead_ports, lambda o: _service(o, "headgate-auth")["spec"].update(selector={"a": "b"})),
]


@pytest.mark.parametrize(("rule", "damage"), BREAKS)
def test_a_broken_network_is_found(
    rule: Callable[[Objects], Iterator[str]], damage: Callable[[Objects], object], production: Objects
) -> None:
    damage(production)
    assert list(rule(production)) != []
