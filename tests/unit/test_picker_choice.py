"""Calls are shared by weight and load, failing candidates are passed over, fallbacks come last."""

from collections import Counter
from random import Random

import pytest

from headgate.routing.v1 import routing_pb2
from headgate_picker import Picker, RouteTable
from headgate_testing.clock import FakeClock


def route(
    name: str, *candidates: str | tuple[str, int], fallbacks: tuple[str, ...] = ()
) -> routing_pb2.Route:
    """A route whose candidates are ids, or ids with weights."""
    pairs = [(each, 1) if isinstance(each, str) else each for each in candidates]
    return routing_pb2.Route(
        name=name,
        candidates=[routing_pb2.Candidate(id=id, model=name, weight=weight) for id, weight in pairs],
        fallbacks=fallbacks,
    )


def table(*routes: routing_pb2.Route, version: int = 1) -> RouteTable:
    return RouteTable({each.name: each for each in routes}, version)


class Bench:
    """A picker with its clock, over some routes."""

    def __init__(self, *routes: routing_pb2.Route, seed: int = 7) -> None:
        self.clock = FakeClock()
        self.picker = Picker(self.clock, Random(seed))
        self.picker.replace(table(*routes))

    def pick(self, name: str, tried: tuple[str, ...] = ()) -> str:
        candidate = self.picker.pick(name, tried)
        assert candidate is not None
        return candidate.id

    def count(self, name: str, picks: int = 1000) -> Counter[str]:
        return Counter(self.pick(name) for _ in range(picks))

    def fail(self, id: str, times: int = 5) -> None:
        for _ in range(times):
            self.picker.begin(id)
            self.picker.end(id, False)

    def succeed(self, id: str) -> None:
        self.picker.begin(id)
        self.picker.end(id, True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_equal_idle_candidates_get_even_shares(n: int, seed: int) -> None:
    ids = [f"c{i}" for i in range(n)]
    counts = Bench(route("m", *ids), seed=seed).count("m")
    assert {id: counts[id] for id in ids} == pytest.approx(dict.fromkeys(ids, 1000 / n), rel=0.1)


@pytest.mark.parametrize("weights", [(3, 1), (9, 1), (5, 3, 2)])
def test_idle_candidates_share_by_weight(weights: tuple[int, ...]) -> None:
    counts = Bench(route("m", *((f"c{i}", weight) for i, weight in enumerate(weights)))).count("m", 10_000)
    for i, weight in enumerate(weights):
        assert counts[f"c{i}"] == pytest.approx(10_000 * weight / sum(weights), rel=0.1)


def test_the_less_loaded_of_two_is_taken() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.picker.begin("a")
    assert bench.count("m", 50) == {"b": 50}


def test_load_counts_per_weight() -> None:
    bench = Bench(route("m", ("big", 3), ("small", 1)))
    for _ in range(2):
        bench.picker.begin("big")
    bench.picker.begin("small")
    assert bench.count("m", 50) == {"big": 50}


def test_calls_that_run_together_are_shared_by_weight() -> None:
    bench = Bench(route("m", ("big", 3), ("small", 1)))
    for _ in range(400):
        bench.picker.begin(bench.pick("m"))
    assert bench.picker.outstanding("big") == pytest.approx(300, abs=2)


def test_the_most_loaded_of_many_is_never_taken() -> None:
    bench = Bench(route("m", "a", "b", "c", "d"))
    bench.picker.begin("a")
    assert bench.count("m")["a"] == 0


def test_what_was_tried_is_not_picked_again() -> None:
    bench = Bench(route("m", "a", "b", "c"))
    assert {bench.pick("m", ("a", "b")) for _ in range(20)} == {"c"}
    assert bench.picker.pick("m", ("a", "b", "c")) is None


def test_a_single_candidate_is_picked_once() -> None:
    bench = Bench(route("m", "a"))
    assert bench.pick("m") == "a"
    assert bench.picker.pick("m", ("a",)) is None


def test_an_unknown_route_has_no_candidate() -> None:
    assert Bench(route("m", "a")).picker.pick("x") is None
    assert Bench(route("m")).picker.pick("m") is None


def test_fallbacks_are_picked_in_order_after_the_route_and_one_level_deep() -> None:
    bench = Bench(
        route("m", "a", fallbacks=("gone", "n", "o")),
        route("n", "b", fallbacks=("p",)),
        route("o", "c"),
        route("p", "d"),
    )
    assert bench.pick("m") == "a"
    assert bench.pick("m", ("a",)) == "b"
    assert bench.pick("m", ("a", "b")) == "c"
    assert bench.picker.pick("m", ("a", "b", "c")) is None


def test_five_failures_in_a_row_eject_for_thirty_seconds() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a", 4)
    assert bench.picker.ejected() == frozenset()
    bench.fail("a", 1)
    assert bench.picker.ejected() == {"a"}
    assert bench.count("m", 50) == {"b": 50}
    bench.clock.advance(29.9)
    assert bench.count("m", 50) == {"b": 50}
    bench.clock.advance(0.2)
    assert set(bench.count("m", 50)) == {"a", "b"}


def test_a_success_between_failures_prevents_ejection() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a", 4)
    bench.succeed("a")
    bench.fail("a", 4)
    assert bench.picker.ejected() == frozenset()


def test_a_caller_that_went_away_says_nothing_about_the_candidate() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a", 4)
    bench.picker.begin("a")
    bench.picker.end("a", None)
    assert bench.picker.outstanding("a") == 0
    assert bench.picker.ejected() == frozenset()
    bench.fail("a", 1)
    assert bench.picker.ejected() == {"a"}


def test_ejection_doubles_up_to_five_minutes_and_starts_anew_after_a_success() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a", 4)
    lengths = []
    for _ in range(6):
        bench.fail("a", 1)
        seconds = 0
        while bench.picker.ejected():
            bench.clock.advance(1)
            seconds += 1
        lengths.append(seconds)
    assert lengths == [30, 60, 120, 240, 300, 300]
    bench.succeed("a")
    bench.fail("a")
    bench.clock.advance(30)
    assert bench.picker.ejected() == frozenset()


def test_failures_of_calls_begun_before_the_ejection_do_not_lengthen_it() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a", 20)
    bench.clock.advance(30)
    assert bench.picker.ejected() == frozenset()


def test_a_late_success_brings_a_candidate_back() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a")
    bench.succeed("a")
    assert bench.picker.ejected() == frozenset()
    bench.fail("a")
    assert bench.picker.ejected() == {"a"}


def test_ejected_candidates_are_used_when_nothing_else_is_left() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a")
    assert bench.pick("m", ("b",)) == "a"
    bench.fail("b")
    assert set(bench.count("m", 50)) == {"a", "b"}


def test_healthy_fallbacks_come_before_ejected_candidates() -> None:
    bench = Bench(route("m", "a", fallbacks=("n",)), route("n", "b"))
    bench.fail("a")
    assert bench.pick("m") == "b"
    assert bench.pick("m", ("b",)) == "a"


def test_a_new_table_keeps_load_and_ejections() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.fail("a")
    bench.picker.begin("b")
    bench.picker.replace(table(route("m", "a", "b", "c"), version=2))
    assert bench.picker.table.version == 2
    assert bench.picker.ejected() == {"a"}
    assert bench.picker.outstanding("b") == 1
    assert bench.count("m", 50) == {"c": 50}


def test_a_call_may_end_after_its_candidate_is_gone_and_back() -> None:
    bench = Bench(route("m", "a", "b"))
    bench.picker.begin("a")
    bench.picker.replace(table(route("m", "b")))
    bench.picker.replace(table(route("m", "a", "b")))
    assert bench.count("m", 20) == {"b": 20}
    bench.picker.end("a", True)
    assert set(bench.count("m", 50)) == {"a", "b"}


def test_same_seed_same_picks() -> None:
    routes = [route("m", "a", "b", "c")]
    first, second = Bench(*routes, seed=3), Bench(*routes, seed=3)
    assert [first.pick("m") for _ in range(50)] == [second.pick("m") for _ in range(50)]
