"""What operators watch besides calls: is usage on its way, is what the data plane knows fresh."""

from headgate_inference.app import InferenceApp
from headgate_journal import Journal, Shipper
from headgate_telemetry.metrics import Metrics


def watch_journal(metrics: Metrics, journal: Journal, shipper: Shipper) -> None:
    """Usage between a call and the ledger."""
    metrics.gauge(
        "headgate_journal_fill_ratio",
        "How full the journal is, 0 to 1; new calls are refused from 0.95 on.",
        lambda: journal.fill_ratio,
    )
    metrics.gauge(
        "headgate_journal_lag_events",
        "Usage events that metering does not have yet.",
        lambda: shipper.lag_events,
    )
    metrics.gauge(
        "headgate_journal_oldest_unsent_seconds",
        "Age of the oldest usage event that metering does not have yet.",
        lambda: shipper.oldest_unsent_age,
    )
    metrics.gauge(
        "headgate_journal_corrupt_segments",
        "Journal segments in which a record had gone bad; look at the disk.",
        lambda: journal.faults.corrupt_segments,
    )


def watch_catalogue(metrics: Metrics, inference: InferenceApp) -> None:
    """How old the data plane's knowledge may be."""
    metrics.gauge(
        "headgate_catalogue_age_seconds",
        "Time since registry or routing, whichever is longer ago, was last heard.",
        inference.catalogue_age_seconds,
    )
