"""The models by the names that clients use: ids and aliases."""

from collections.abc import Collection, Iterable

from headgate.registry.v1 import registry_pb2


class Listing:
    """One version of the model list, made once. An alias is listed as its first target under its own name."""

    def __init__(self, items: Iterable[registry_pb2.CatalogueItem]) -> None:
        models = {}
        aliases = []
        for item in items:
            if item.HasField("model"):
                models[item.model.id] = item.model
            elif item.HasField("alias"):
                aliases.append(item.alias)
        for alias in aliases:
            models[alias.name] = _named(models[alias.targets[0].model], alias.name)
        self._by_name: dict[str, registry_pb2.Model] = dict(sorted(models.items()))
        self._everything = registry_pb2.ListModelsResponse(models=self._by_name.values())

    def visible(self, grants: Collection[str]) -> registry_pb2.ListModelsResponse:
        """The models whose names are granted, by name; no grants at all mean every model."""
        if not grants:
            return self._everything
        return registry_pb2.ListModelsResponse(
            models=[model for name, model in self._by_name.items() if name in grants]
        )

    def find(self, name: str, grants: Collection[str]) -> registry_pb2.Model | None:
        """The model of a name, or None when there is none or it is not granted."""
        return self._by_name.get(name) if not grants or name in grants else None


def _named(model: registry_pb2.Model, name: str) -> registry_pb2.Model:
    copy = registry_pb2.Model()
    copy.CopyFrom(model)
    copy.id = name
    return copy
