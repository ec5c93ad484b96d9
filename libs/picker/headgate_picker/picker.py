"""Least loaded of two (decisions.md 30), on load and failures as seen by this process alone.

Two distinct candidates are drawn by weight; the one with fewer outstanding calls per weight is taken, the one
drawn first when they are equal, so that idle candidates share by weight. The first draws of a route step by
the golden ratio from a random start: any run of them is spread evenly, where independent draws clump.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from itertools import accumulate
from random import Random
from typing import NamedTuple

from headgate_clock import Clock
from headgate_picker.health import Health
from headgate_picker.table import Candidate, RouteTable

_GOLDEN = 0.6180339887498949


class _Choice(NamedTuple):
    candidate: Candidate
    weight: int
    health: Health


class _Draw:
    """Candidates to draw from, with their running sum of weights."""

    __slots__ = ("_point", "choices", "sums")

    def __init__(self, choices: Iterable[_Choice], rng: Random) -> None:
        self._point = rng.random()
        self.choices = tuple(choices)
        self.sums = tuple(accumulate(choice.weight for choice in self.choices))

    def less_loaded_of_two(self, rng: Random) -> Candidate:
        choices, sums = self.choices, self.sums
        if len(choices) == 1:
            return choices[0].candidate
        self._point = (self._point + _GOLDEN) % 1.0
        i = bisect_right(sums, self._point * sums[-1])
        first = choices[i]
        if len(choices) == 2:
            second = choices[1 - i]
        else:
            # The share of the first is cut out of the line, so the second is another one.
            point = rng.random() * (sums[-1] - first.weight)
            second = choices[
                bisect_right(sums, point if point < sums[i] - first.weight else point + first.weight)
            ]
        if second.health.outstanding * first.weight < first.health.outstanding * second.weight:
            return second.candidate
        return first.candidate


class Picker:
    """Chooses among the candidates of the current table. Not for use by several threads."""

    def __init__(self, clock: Clock, rng: Random) -> None:
        self.table = RouteTable({})
        self._clock = clock
        self._rng = rng
        self._draws: dict[str, _Draw] = {}
        self._health: dict[str, Health] = {}
        # The few that are ejected; while it is empty a pick looks at no candidate's health.
        self._ejected: dict[str, Health] = {}

    def replace(self, table: RouteTable) -> None:
        """Pick from `table` from now on; load and failures of candidates that stay are kept."""
        self.table = table
        known = self._health
        here = {each.id: each for route in table.routes.values() for each in route.candidates}
        self._health = {id: known.get(id) or Health() for id in here}
        # Calls that still run on a candidate that is gone must find their counter when they end.
        self._health |= {id: health for id, health in known.items() if id not in here and health.outstanding}
        self._ejected = {id: health for id, health in self._ejected.items() if id in self._health}
        self._draws = {
            name: _Draw(
                (_Choice(each, each.weight, self._health[each.id]) for each in route.candidates), self._rng
            )
            for name, route in table.routes.items()
        }

    def pick(self, route_name: str, tried: Collection[str] = ()) -> Candidate | None:
        """The candidate for the next attempt, or None when every one was tried or the route is unknown.

        `tried` holds the ids of candidates that failed in this call. Order: healthy candidates of the route, of
        its fallbacks one after the other, then ejected ones in the same order: better a doubtful answer than none.
        """
        draw = self._draws.get(route_name)
        if draw is None:
            return None
        if draw.choices and not tried and not self._ejected:
            return draw.less_loaded_of_two(self._rng)
        self._forgive(self._clock.monotonic())
        names = (route_name, *self.table.routes[route_name].fallbacks)
        return self._pick_from(names, {*tried, *self._ejected}) or self._pick_from(names, tried)

    def begin(self, candidate_id: str) -> None:
        """A call to a candidate starts."""
        health = self._health.get(candidate_id)
        if health is None:
            health = self._health[candidate_id] = Health()
        health.outstanding += 1

    def end(self, candidate_id: str, ok: bool | None) -> None:
        """A call to a candidate has ended: well, by its fault, or (None, a caller that went away) neither."""
        health = self._health[candidate_id]
        health.outstanding -= 1
        if ok:
            health.succeeded()
            self._ejected.pop(candidate_id, None)
        elif ok is False and health.failed(self._clock.monotonic()):
            self._ejected[candidate_id] = health

    def outstanding(self, candidate_id: str) -> int:
        """Calls that run on a candidate now."""
        health = self._health.get(candidate_id)
        return health.outstanding if health else 0

    def ejected(self) -> frozenset[str]:
        """Ids of the candidates that are passed over now."""
        self._forgive(self._clock.monotonic())
        return frozenset(self._ejected)

    def _forgive(self, now: float) -> None:
        for id in [id for id, health in self._ejected.items() if now >= health.ejected_until]:
            del self._ejected[id]

    def _pick_from(self, names: Iterable[str], excluded: Collection[str]) -> Candidate | None:
        for name in names:
            draw = self._draws.get(name)
            left = [each for each in draw.choices if each.candidate.id not in excluded] if draw else []
            if left:
                return _Draw(left, self._rng).less_loaded_of_two(self._rng)
        return None
