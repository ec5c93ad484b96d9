"""RegistryService: model lists for callers, the catalogue for the other services."""

from collections.abc import AsyncIterator, Collection, Mapping

from headgate.registry.v1 import registry_pb2
from headgate_registry.listing import Listing
from headgate_rpc.call import CallContext
from headgate_rpc.errors import HeadgateError, Reason
from headgate_rpc.watch import WatchSource


class RegistryServicer:
    """Serves the catalogue that `replace` was last given."""

    def __init__(self) -> None:
        self._source: WatchSource[registry_pb2.CatalogueItem] = WatchSource()
        self._listing = Listing(())

    def replace(self, items: Mapping[str, registry_pb2.CatalogueItem]) -> None:
        """Make `items` the catalogue; followers get the difference."""
        self._source.replace(items)
        self._listing = Listing(items.values())

    async def ListModels(
        self, request: registry_pb2.ListModelsRequest, call: CallContext
    ) -> registry_pb2.ListModelsResponse:
        """See the proto."""
        return self._listing.visible(_grants(call))

    async def GetModel(
        self, request: registry_pb2.GetModelRequest, call: CallContext
    ) -> registry_pb2.GetModelResponse:
        """See the proto."""
        model = self._listing.find(request.id, _grants(call))
        if model is None:
            raise HeadgateError(
                Reason.MODEL_NOT_FOUND,
                f"The model '{request.id[:256]}' does not exist or you do not have access to it.",
                field="model",
            )
        return registry_pb2.GetModelResponse(model=model)

    async def WatchCatalogue(
        self, request: registry_pb2.WatchCatalogueRequest, call: CallContext
    ) -> AsyncIterator[registry_pb2.WatchCatalogueResponse]:
        """See the proto."""
        async for message in self._source.follow(request.position, registry_pb2.WatchCatalogueResponse):
            yield message


def _grants(call: CallContext) -> Collection[str]:
    return call.principal.models if call.principal is not None else ()
