"""Client of headgate.routing.v1.RoutingService; effects and errors stand in its proto."""

from typing import cast

from headgate.routing.v1 import routing_pb2
from headgate.routing.v1.routing_pb2 import WatchRoutesRequest, WatchRoutesResponse
from headgate_rpc.call import methods_of
from headgate_rpc.channel import NO_OPTIONS, Channel, Options, StreamReply

METHODS = methods_of(routing_pb2.DESCRIPTOR.services_by_name["RoutingService"])


class RoutingClient:
    """Calls RoutingService over `channel`. Faults are HeadgateError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def watch_routes(
        self, request: WatchRoutesRequest, options: Options = NO_OPTIONS
    ) -> StreamReply[WatchRoutesResponse]:
        """RoutingService.WatchRoutes."""
        reply = await self._channel.stream(METHODS["WatchRoutes"], request, options)
        return cast("StreamReply[WatchRoutesResponse]", reply)
