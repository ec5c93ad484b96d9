"""Autoscaling and alerts ask for metrics that exist, and the operator's page explains each alert and metric."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from headgate_rpc.errors import Reason

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "k8s" / "components" / "monitoring"
PAGE = (ROOT / "deploy" / "README.md").read_text()

Object = dict[str, Any]
Objects = list[Object]

REASONS = {each.value for each in Reason}

# What an operator calls what these methods of `Metrics` make.
KINDS = {
    "tally": "counter",
    "counter": "counter",
    "distribution": "histogram",
    "level": "gauge",
    "gauge": "gauge",
}

# Made by Prometheus and by the kubelet.
FOREIGN = {"up", "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}
_METRIC = re.compile(r"\b(headgate_\w+|kubelet_\w+|up)\b(?=[{\s\[)>=<]|$)")


@cache
def families() -> dict[str, str]:
    """Every metric that the code registers, with the method that does it: `tally`, `gauge` …"""
    found = {}
    for folder in ("libs", "services", "gateway"):
        for module in (ROOT / folder).rglob("headgate_*/**/*.py"):
            for node in ast.walk(ast.parse(module.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                    name = node.args[0]
                    if isinstance(name, ast.Constant) and str(name.value).startswith("headgate_"):
                        found[str(name.value)] = node.func.attr
    return found


def series() -> set[str]:
    """Every series name that a scrape may show."""
    names = set()
    for name, kind in families().items():
        names |= {name} if kind != "distribution" else {f"{name}_{end}" for end in ("bucket", "sum", "count")}
    return names


def alerts() -> list[Object]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]["groups"]
    rules: list[Object] = group["rules"]
    return rules


def unknown_series(rules: list[Object]) -> Iterator[str]:
    """Names in alerts that nothing exports, and error reasons that do not exist."""
    for rule in rules:
        names = set(_METRIC.findall(re.sub(r'"[^"]*"', '""', rule["expr"])))
        if not names:
            yield f"{rule['alert']}: asks for nothing"
        yield from (f"{rule['alert']}: {name}" for name in names - series() - FOREIGN)
        for values in re.findall(r'(?:reason|outcome)=~?"([^"]*)"', rule["expr"]):
            yield from (f"{rule['alert']}: {value}" for value in values.split("|") if value not in REASONS)
        if rule["expr"].count("(") != rule["expr"].count(")"):
            yield f"{rule['alert']}: parentheses"


def unavailable_metrics(objects: Objects, adapter: Object) -> Iterator[str]:
    """What autoscalers ask for and the adapter does not offer, or offers from a series that does not exist."""
    offered = {}
    for rule in adapter["rules"]["custom"]:
        source = rule["seriesQuery"].partition("{")[0]
        offered[rule["name"].get("as", rule["name"]["matches"])] = source
        if rule["name"]["matches"] != source or source not in series():
            yield f"the adapter asks for {source}"
        if ("rate(" in rule["metricsQuery"]) != source.endswith("_total"):
            yield f"{source}: a counter is a rate, a gauge is not"
    scalers = [each for each in objects if each["kind"] == "HorizontalPodAutoscaler"]
    for scaler in scalers:
        own = [each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"]
        if not own:
            yield f"{scaler['metadata']['name']} scales by none of our metrics"
        yield from (f"{scaler['metadata']['name']}: {name}" for name in own if name not in offered)


def adapter_rules() -> Object:
    rules: Object = yaml.safe_load((MONITORING / "adapter-rules.yaml").read_text())
    return rules


def test_alerts_ask_for_what_exists() -> None:
    assert list(unknown_series(alerts())) == []


def test_an_alert_on_nothing_is_found() -> None:
    broken = [
        {"alert": "A", "expr": "headgate_journal_fullness > 1"},
        {"alert": "B", "expr": "rate(headgate_request_seconds[5m]) > 1"},
        {"alert": "C", "expr": 'headgate_requests_total{reason="INTERNAL"} > 0'},
        {"alert": "D", "expr": "sum(headgate_requests_running > 0"},
    ]
    assert [problem[0] for problem in unknown_series(broken)] == ["A", "B", "C", "D"]


def test_autoscalers_ask_for_what_exists(production: Objects) -> None:
    assert list(unavailable_metrics(production, adapter_rules())) == []


def test_an_autoscaler_on_nothing_is_found(production: Objects) -> None:
    rules = adapter_rules()
    rules["rules"]["custom"].pop()
    assert list(unavailable_metrics(production, rules)) != []
    rules = adapter_rules()
    rules["rules"]["custom"][0]["seriesQuery"] = "headgate_streams{}"
    assert list(unavailable_metrics([], rules)) != []
    for each in production:
        if each["kind"] == "HorizontalPodAutoscaler":
            each["spec"]["metrics"].pop(0)
    assert list(unavailable_metrics(production, adapter_rules())) != []


def test_the_page_explains_every_alert_and_no_other() -> None:
    assert set(re.findall(r"^\| `(Headgate\w+)`", PAGE, re.MULTILINE)) == {rule["alert"] for rule in alerts()}


def test_every_alert_has_a_severity_and_a_summary() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")


def test_the_page_lists_every_metric_and_no_other() -> None:
    listed = dict(re.findall(r"^\| `(headgate_\w+)` \| (\w+)", PAGE, re.MULTILINE))
    assert listed == {name: KINDS[kind] for name, kind in families().items()}


def test_counters_and_nothing_else_are_called_total() -> None:
    assert {name for name in families() if name.endswith("_total")} == {
        name for name, kind in families().items() if KINDS[kind] == "counter"
    }


def unscraped(objects: Objects) -> Iterator[str]:
    """Pods that no PodMonitor takes, or at a port that they do not have."""
    monitors = [each["spec"] for each in objects if each["kind"] == "PodMonitor"]
    for each in objects:
        if each["kind"] in {"Deployment", "StatefulSet"}:
            template = each["spec"]["template"]
            ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
            taken = [
                endpoint
                for spec in monitors
                if spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
                for endpoint in spec["podMetricsEndpoints"]
                if endpoint["port"] in ports and endpoint["path"] == "/metrics"
            ]
            if len(taken) != 1:
                yield str(each["metadata"]["name"])


def test_prometheus_finds_every_pod(objects: Objects) -> None:
    # Monitoring is a component: without it there is no PodMonitor, and with it one that takes all.
    with_monitoring = any(each["kind"] == "PodMonitor" for each in objects)
    assert len(list(unscraped(objects))) == (0 if with_monitoring else 6)
