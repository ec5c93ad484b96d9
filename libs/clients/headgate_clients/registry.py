"""Client of headgate.registry.v1.RegistryService; effects and errors stand in its proto."""

from typing import cast

from headgate.registry.v1 import registry_pb2
from headgate.registry.v1.registry_pb2 import (
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    WatchCatalogueRequest,
    WatchCatalogueResponse,
)
from headgate_rpc.call import methods_of
from headgate_rpc.channel import NO_OPTIONS, Channel, Options, Reply, StreamReply

METHODS = methods_of(registry_pb2.DESCRIPTOR.services_by_name["RegistryService"])


class RegistryClient:
    """Calls RegistryService over `channel`. Faults are HeadgateError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def list_models(
        self, request: ListModelsRequest, options: Options = NO_OPTIONS
    ) -> Reply[ListModelsResponse]:
        """RegistryService.ListModels."""
        reply = await self._channel.unary(METHODS["ListModels"], request, options)
        return cast("Reply[ListModelsResponse]", reply)

    async def get_model(
        self, request: GetModelRequest, options: Options = NO_OPTIONS
    ) -> Reply[GetModelResponse]:
        """RegistryService.GetModel."""
        reply = await self._channel.unary(METHODS["GetModel"], request, options)
        return cast("Reply[GetModelResponse]", reply)

    async def watch_catalogue(
        self, request: WatchCatalogueRequest, options: Options = NO_OPTIONS
    ) -> StreamReply[WatchCatalogueResponse]:
        """RegistryService.WatchCatalogue."""
        reply = await self._channel.stream(METHODS["WatchCatalogue"], request, options)
        return cast("StreamReply[WatchCatalogueResponse]", reply)
