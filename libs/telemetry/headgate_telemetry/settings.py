"""What an operator can set about logs, traces and metrics."""

from dataclasses import dataclass
from typing import Literal

from headgate_settings import HostPort, Secret, SettingsError, setting


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Logs go to standard error as JSON lines; spans leave only when a collector is named."""

    service_name: str = setting(
        env="OTEL_SERVICE_NAME", default="", help="Name in spans and log lines; default: the service's own."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        env="HEADGATE_LOG_LEVEL", default="info", help="Least level that is logged."
    )
    otlp_endpoint: str = setting(
        env="HEADGATE_OTLP_ENDPOINT",
        default="",
        help="Collector that gets the spans by OTLP/gRPC, such as `http://127.0.0.1:4317`; empty: no spans.",
    )
    standard_otlp_endpoint: str = setting(
        env="OTEL_EXPORTER_OTLP_ENDPOINT",
        default="",
        help="The same under OpenTelemetry's name; `HEADGATE_OTLP_ENDPOINT` wins.",
    )
    otlp_headers: Secret = setting(
        env="OTEL_EXPORTER_OTLP_HEADERS",
        default=Secret(),
        help="Metadata for the collector, `name=value,name=value`.",
    )
    trace_ratio: float = setting(
        env="HEADGATE_TRACE_RATIO", default=1.0, help="Share of the traces begun here that is kept, 0 to 1."
    )
    ops: HostPort = setting(
        env="HEADGATE_OPS",
        default=HostPort("127.0.0.1", 9464),
        help="Address of `/metrics`, `/healthz` and `/readyz`.",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.trace_ratio <= 1:
            raise SettingsError([f"HEADGATE_TRACE_RATIO: {self.trace_ratio} is not between 0 and 1"])

    @property
    def collector(self) -> str:
        """The OTLP endpoint in force, empty for none."""
        return self.otlp_endpoint or self.standard_otlp_endpoint
