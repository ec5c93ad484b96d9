"""Client of headgate.metering.v1.MeteringService; effects and errors stand in its proto."""

from typing import cast

from headgate.metering.v1 import metering_pb2
from headgate.metering.v1.metering_pb2 import (
    AcquireLeasesRequest,
    AcquireLeasesResponse,
    GetUsageRequest,
    GetUsageResponse,
    ListUsageRecordsRequest,
    ListUsageRecordsResponse,
    RecordUsageRequest,
    RecordUsageResponse,
    WatchPoliciesRequest,
    WatchPoliciesResponse,
)
from headgate_rpc.call import methods_of
from headgate_rpc.channel import NO_OPTIONS, Channel, Options, Reply, StreamReply

METHODS = methods_of(metering_pb2.DESCRIPTOR.services_by_name["MeteringService"])


class MeteringClient:
    """Calls MeteringService over `channel`. Faults are HeadgateError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def acquire_leases(
        self, request: AcquireLeasesRequest, options: Options = NO_OPTIONS
    ) -> Reply[AcquireLeasesResponse]:
        """MeteringService.AcquireLeases."""
        reply = await self._channel.unary(METHODS["AcquireLeases"], request, options)
        return cast("Reply[AcquireLeasesResponse]", reply)

    async def record_usage(
        self, request: RecordUsageRequest, options: Options = NO_OPTIONS
    ) -> Reply[RecordUsageResponse]:
        """MeteringService.RecordUsage."""
        reply = await self._channel.unary(METHODS["RecordUsage"], request, options)
        return cast("Reply[RecordUsageResponse]", reply)

    async def watch_policies(
        self, request: WatchPoliciesRequest, options: Options = NO_OPTIONS
    ) -> StreamReply[WatchPoliciesResponse]:
        """MeteringService.WatchPolicies."""
        reply = await self._channel.stream(METHODS["WatchPolicies"], request, options)
        return cast("StreamReply[WatchPoliciesResponse]", reply)

    async def get_usage(
        self, request: GetUsageRequest, options: Options = NO_OPTIONS
    ) -> Reply[GetUsageResponse]:
        """MeteringService.GetUsage."""
        reply = await self._channel.unary(METHODS["GetUsage"], request, options)
        return cast("Reply[GetUsageResponse]", reply)

    async def list_usage_records(
        self, request: ListUsageRecordsRequest, options: Options = NO_OPTIONS
    ) -> Reply[ListUsageRecordsResponse]:
        """MeteringService.ListUsageRecords."""
        reply = await self._channel.unary(METHODS["ListUsageRecords"], request, options)
        return cast("Reply[ListUsageRecordsResponse]", reply)
