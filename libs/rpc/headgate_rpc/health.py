"""grpc.health.v1.Health of one server. Own code, because the stock servicer says SERVING before anything serves,
holds a lock while it writes to a client, and has streams that would keep a stopping server waiting."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its package has no types
    """The state of a server and of each of its services, which are one: NOT_SERVING until told otherwise.
    `watchers` are the clients that will hear of a change."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(["", *services])
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()
        self.watchers = 0

    def set(self, serving: bool) -> None:
        """Say so to everybody who watches."""
        self._serving = serving
        self._wake()

    def close(self) -> None:
        """End the watches: their clients look elsewhere."""
        self._closed = True
        self._wake()

    async def Check(self, request: HealthCheckRequest, context: "Context") -> HealthCheckResponse:
        """NOT_FOUND for a service that is not here."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: HealthCheckRequest, context: "Context"
    ) -> AsyncIterator[HealthCheckResponse]:
        """The state now and each change, until the server stops."""
        self.watchers += 1
        try:
            said = None
            while not self._closed:
                changed, status = self._changed, self._status(request.service)
                if status != said:
                    said = status
                    yield HealthCheckResponse(status=status)
                await changed.wait()
        finally:
            self.watchers -= 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus.ValueType:
        if service not in self._services:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
