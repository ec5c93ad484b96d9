"""The route table follows from catalogue and routing section alone."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.registry.v1.registry_pb2 import Alias, AliasTarget, CatalogueItem, Deployment, Model, Provider
from headgate.routing.v1.routing_pb2 import Route
from headgate_routing.table import route_table
from headgate_settings.config import FallbackConfig, RoutingConfig


def model(id: str, **weights: int) -> CatalogueItem:
    """A model with one deployment of its own name at each provider."""
    deployments = [
        Deployment(id=f"{provider}/{id}", provider=provider, upstream_id=id, weight=weight)
        for provider, weight in weights.items()
    ]
    return CatalogueItem(model=Model(id=id, deployments=deployments))


def alias(name: str, **targets: int) -> CatalogueItem:
    pairs = [AliasTarget(model=id, weight=weight) for id, weight in targets.items()]
    return CatalogueItem(alias=Alias(name=name, targets=pairs))


def fallbacks(**chains: list[str]) -> RoutingConfig:
    return RoutingConfig(
        fallbacks=tuple(FallbackConfig(name, tuple(chain)) for name, chain in chains.items())
    )


def weights(route: Route) -> dict[str, int]:
    return {each.id: each.weight for each in route.candidates}


def test_a_model_runs_where_it_is_deployed() -> None:
    table = route_table([model("m", p=3, q=1), CatalogueItem(provider=Provider(name="p"))], RoutingConfig())
    assert list(table) == ["m"]
    assert weights(table["m"]) == {"m@p/m": 3, "m@q/m": 1}
    first = table["m"].candidates[0]
    assert (first.model, first.provider, first.upstream_id) == ("m", "p", "m")


def test_an_alias_divides_each_targets_share_among_its_deployments() -> None:
    table = route_table([model("m", p=3, q=1), model("n", p=1), alias("a", m=9, n=1)], RoutingConfig())
    assert weights(table["a"]) == {"m@p/m": 27, "m@q/m": 9, "n@p/n": 4}


def test_weights_are_as_small_as_they_can_be() -> None:
    table = route_table([model("m", p=10, q=10), alias("a", m=7)], RoutingConfig())
    assert weights(table["m"]) == {"m@p/m": 1, "m@q/m": 1}
    assert weights(table["a"]) == {"m@p/m": 1, "m@q/m": 1}


def test_a_model_named_twice_by_an_alias_is_one_choice() -> None:
    twice = CatalogueItem(
        alias=Alias(name="a", targets=[AliasTarget(model="m", weight=1), AliasTarget(model="m", weight=2)])
    )
    table = route_table([model("m", p=1), model("n", p=1), twice], RoutingConfig())
    assert weights(table["a"]) == {"m@p/m": 1}


def test_targets_and_fallbacks_that_are_not_there_are_left_out() -> None:
    table = route_table(
        [model("m", p=1), alias("a", m=1, gone=5), alias("b", gone=1)], fallbacks(m=["gone", "a"])
    )
    assert set(table) == {"m", "a"}
    assert weights(table["a"]) == {"m@p/m": 1}
    assert list(table["m"].fallbacks) == ["a"]


def test_an_alias_for_one_model_has_its_fallbacks() -> None:
    table = route_table(
        [
            model("m", p=1),
            model("n", p=1),
            model("o", p=1),
            alias("a", m=1),
            alias("b", m=1),
            alias("c", m=1, n=1),
        ],
        fallbacks(m=["n", "o"], b=["o", "m"]),
    )
    assert list(table["m"].fallbacks) == ["n", "o"]
    assert list(table["a"].fallbacks) == ["n", "o"]
    assert list(table["b"].fallbacks) == ["o"]
    assert list(table["c"].fallbacks) == []
    assert list(table["n"].fallbacks) == []


def test_the_order_of_items_does_not_matter() -> None:
    items = [model("m", p=3, q=1), model("n", p=1), alias("a", m=9, n=1)]
    config = fallbacks(m=["n"])
    assert route_table(items, config) == route_table(reversed(items), config)


share = st.integers(1, 10_000)


@given(st.lists(st.tuples(share, st.lists(share, min_size=1, max_size=4)), min_size=1, max_size=6))
def test_any_weights_keep_their_proportions_and_fit_their_field(targets: list[tuple[int, list[int]]]) -> None:
    items = [
        model(f"m{i}", **{f"p{j}": weight for j, weight in enumerate(deployments)})
        for i, (_, deployments) in enumerate(targets)
    ]
    items.append(alias("a", **{f"m{i}": weight for i, (weight, _) in enumerate(targets)}))
    found = weights(route_table(items, RoutingConfig())["a"])
    total = sum(found.values())
    shares = sum(weight for weight, _ in targets)
    for i, (weight, deployments) in enumerate(targets):
        for j, part in enumerate(deployments):
            expected = weight / shares * part / sum(deployments)
            got = found[f"m{i}@p{j}/m{i}"]
            assert got >= 1
            assert abs(got / total - expected) < 1e-4
