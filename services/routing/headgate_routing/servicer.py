"""RoutingService: the route table, pushed."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from headgate.routing.v1 import routing_pb2
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource

# How long a follower waits for the first table; less than it would wait for any message.
PATIENCE_S = 1.0


class RoutingServicer:
    """Serves the table that `replace` was last given."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._source: WatchSource[routing_pb2.Route] = WatchSource()

    def replace(self, routes: Mapping[str, routing_pb2.Route]) -> None:
        """Make `routes` the table; followers get the difference."""
        self._source.replace(routes)
        self.ready.set()

    async def WatchRoutes(
        self, request: routing_pb2.WatchRoutesRequest, call: CallContext
    ) -> AsyncIterator[routing_pb2.WatchRoutesResponse]:
        """See the proto."""
        # Before the catalogue is known there is no table; an empty one would make every model unknown. Another
        # replica may have one.
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.ready.wait()
        except TimeoutError:
            raise HeadgateError(
                Reason.SERVICE_UNAVAILABLE, "There is no route table yet.", retry_after_ms=1000
            ) from None
        async for message in self._source.follow(request.position, routing_pb2.WatchRoutesResponse):
            yield message
