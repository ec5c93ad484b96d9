"""The route table: a pure function of the catalogue and the routing section.

Works on the messages themselves: catalogue items come from one watch stream and routes go to another, and
copies in between would only repeat their fields.
"""

from collections.abc import Iterable, Mapping
from math import gcd, lcm

from headgate.registry.v1.registry_pb2 import Alias, CatalogueItem, Model
from headgate.routing.v1.routing_pb2 import Candidate, Route
from headgate_settings.config import RoutingConfig

_MOST_WEIGHT = 2**32 - 1


def route_table(items: Iterable[CatalogueItem], config: RoutingConfig) -> dict[str, Route]:
    """Every route by its name: one for each model and alias that has a candidate.

    An alias's candidates are those of its targets; a target's share is divided among its deployments.
    """
    models: dict[str, Model] = {}
    aliases: list[Alias] = []
    for item in items:
        if item.HasField("model"):
            models[item.model.id] = item.model
        elif item.HasField("alias"):
            aliases.append(item.alias)
    routes = {name: Route(name=name, candidates=_candidates([(model, 1)])) for name, model in models.items()}
    single: dict[str, str] = {}
    for alias in aliases:
        targets = [(models[each.model], each.weight) for each in alias.targets if each.model in models]
        routes[alias.name] = Route(name=alias.name, candidates=_candidates(targets))
        if len(alias.targets) == 1:
            single[alias.name] = alias.targets[0].model
    routes = {name: route for name, route in routes.items() if route.candidates}
    _add_fallbacks(routes, single, {each.model: each.fallbacks for each in config.fallbacks})
    return routes


def _candidates(targets: Iterable[tuple[Model, int]]) -> list[Candidate]:
    """Candidates of weighted models; weights are the smallest whole numbers with the right proportions."""
    targets = [(model, weight) for model, weight in targets if model.deployments]
    sums = [sum(each.weight for each in model.deployments) for model, _ in targets]
    scale = lcm(*sums)
    candidates: dict[str, Candidate] = {}
    weights: dict[str, int] = {}
    for (model, share), total in zip(targets, sums, strict=True):
        for deployment in model.deployments:
            id = f"{model.id}@{deployment.id}"
            weights[id] = weights.get(id, 0) + share * deployment.weight * scale // total
            candidates[id] = Candidate(
                id=id, model=model.id, provider=deployment.provider, upstream_id=deployment.upstream_id
            )
    for id, weight in _reduced(weights).items():
        candidates[id].weight = weight
    return list(candidates.values())


def _reduced(weights: Mapping[str, int]) -> dict[str, int]:
    divisor = gcd(*weights.values())
    reduced = {id: weight // divisor for id, weight in weights.items()}
    most = max(reduced.values(), default=0)
    if most <= _MOST_WEIGHT:
        return reduced
    return {id: max(weight * _MOST_WEIGHT // most, 1) for id, weight in reduced.items()}


def _add_fallbacks(
    routes: Mapping[str, Route], single: Mapping[str, str], chains: Mapping[str, tuple[str, ...]]
) -> None:
    """Set each route's fallbacks; an alias for one model has that model's unless it has its own."""
    for name, route in routes.items():
        meant = single.get(name, name)
        chain = chains.get(name) or chains.get(meant, ())
        route.fallbacks.extend(each for each in chain if each in routes and each not in (name, meant))
