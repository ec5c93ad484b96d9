"""`GET /v1/models` and `GET /v1/models/{id}` (MODEL-1 to MODEL-6)."""

from headgate.registry.v1 import registry_pb2
from headgate.registry.v1.registry_pb2 import GetModelRequest, ListModelsRequest, Model
from headgate_clients.registry import RegistryClient
from headgate_gateway.exchange import Exchange
from headgate_gateway.strict_json import encode

_TYPES = {
    registry_pb2.MODEL_TYPE_TEXT: "text",
    registry_pb2.MODEL_TYPE_EMBEDDING: "embedding",
    registry_pb2.MODEL_TYPE_IMAGE: "image",
    registry_pb2.MODEL_TYPE_AUDIO: "audio",
}


class Models:
    """Model lists from `registry`, within `timeout` seconds."""

    def __init__(self, registry: RegistryClient, timeout: float) -> None:
        self._registry = registry
        self._timeout = timeout

    async def list(self, exchange: Exchange) -> None:
        """The models the caller may use."""
        reply = await self._registry.list_models(ListModelsRequest(), exchange.options(self._timeout))
        models = [model_object(model) for model in reply.message.models]
        await exchange.answer(encode({"object": "list", "data": models}), reply.metadata)

    async def get(self, exchange: Exchange) -> None:
        """One model; its id may hold slashes."""
        request = GetModelRequest(id=exchange.parameters["id"])
        reply = await self._registry.get_model(request, exchange.options(self._timeout))
        await exchange.answer(encode(model_object(reply.message.model)), reply.metadata)


def model_object(model: Model) -> dict[str, object]:
    """The model as the hub family shows it. Only models the caller may use are shown, so sampling is allowed."""
    permission = {
        "id": f"modelperm-{model.id}",
        "object": "model_permission",
        "created": model.created,
        "allow_sampling": True,
        "allow_fine_tuning": False,
        "organization": "*",
    }
    shown: dict[str, object] = {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "permission": [permission],
        "root": model.id,
        "parent": None,
        "context_length": model.context_length,
        "capabilities": list(model.capabilities),
        "type": _TYPES.get(model.type, "text"),
    }
    if model.dimensions:
        shown["dimensions"] = model.dimensions
    if model.description:
        shown["description"] = model.description
    return shown
