"""RoutingService: the route table, pushed."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from headgate.routing.v1 import routing_pb2
from headgate_rpc.call import CallContext
from headgate_rpc.watch import WatchSource


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
        # Before the catalogue is known there is no table; an empty one would make every model unknown.
        await self.ready.wait()
        async for message in self._source.follow(request.position, routing_pb2.WatchRoutesResponse):
            yield message
