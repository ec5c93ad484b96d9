"""How fresh pushed state is, for operators."""

from collections.abc import Iterable
from typing import Any

from headgate_rpc.watcher import Watcher
from headgate_telemetry.metrics import Metrics


def watch_gauges(metrics: Metrics, watches: Iterable[Watcher[Any]]) -> None:
    """Two gauges for each watch of this process. Raises ValueError for two watches of one name."""
    for watch in watches:
        _gauges(metrics, watch)


def _gauges(metrics: Metrics, watch: Watcher[Any]) -> None:
    labels = {"watch": watch.name}
    metrics.gauge(
        "headgate_watch_age_seconds",
        "Time since the source of pushed state was last heard; what is known may be that old.",
        watch.age_seconds,
        labels,
    )
    metrics.gauge(
        "headgate_watch_connected", "1 while the source is being heard.", lambda: watch.connected, labels
    )
