"""OpenTelemetry's own SDK, for cold paths (start-up, reloads, administration) where a span context manager
is worth its cost. Never on the request path."""

from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio


def tracer_provider(
    resource: Mapping[str, str], exporter: SpanExporter | None, ratio: float = 1.0
) -> TracerProvider:
    """A provider with the resource of the request spans; without an exporter its spans go nowhere. Call
    `shutdown` in the end."""
    provider = TracerProvider(resource=Resource(dict(resource)), sampler=ParentBasedTraceIdRatio(ratio))
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def otlp_exporter(endpoint: str, headers: Sequence[tuple[str, str]] = ()) -> SpanExporter:
    """The SDK's exporter to the collector that also gets the request spans."""
    return OTLPSpanExporter(
        endpoint=endpoint, insecure=not endpoint.startswith("https://"), headers=list(headers)
    )
