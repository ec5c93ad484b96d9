"""An OTLP collector in the test's own process: keeps what it is sent."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Request = trace_service_pb2.ExportTraceServiceRequest | metrics_service_pb2.ExportMetricsServiceRequest
Response = trace_service_pb2.ExportTraceServiceResponse | metrics_service_pb2.ExportMetricsServiceResponse


class Collector(trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    """`endpoint` is its `http://127.0.0.1:port`. While `answering` is cleared, requests hang; `refuse_with`
    makes it answer with that status."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.traces: list[trace_service_pb2.ExportTraceServiceRequest] = []
        self.metrics: list[metrics_service_pb2.ExportMetricsServiceRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.refuse_with: grpc.StatusCode | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.arrived = asyncio.Event()

    def spans(self) -> list[Span]:
        """All spans that have arrived, in order."""
        return list(self._spans())

    async def wait_for(self, spans: int) -> list[Span]:
        """All spans, once there are at least so many."""
        while len(self.spans()) < spans:
            self.arrived.clear()
            await self.arrived.wait()
        return self.spans()

    def _spans(self) -> Iterator[Span]:
        for request in self.traces:
            for of_resource in request.resource_spans:
                for of_scope in of_resource.scope_spans:
                    yield from of_scope.spans

    async def Export(
        self, request: Request, context: "grpc.aio.ServicerContext[Request, Response]"
    ) -> Response:
        """Keep a request, of either service."""
        self.metadata.append(dict(context.invocation_metadata() or ()))
        await self.answering.wait()
        if self.refuse_with is not None:
            await context.abort(self.refuse_with, "refused")
        self.arrived.set()
        if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest):
            self.metrics.append(request)
            return metrics_service_pb2.ExportMetricsServiceResponse()
        self.traces.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """A collector on a free loopback port, for the length of the block."""
    kept = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(kept, server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(kept, server)  # type: ignore[no-untyped-call]
    kept.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield kept
    finally:
        kept.answering.set()
        await server.stop(None)
