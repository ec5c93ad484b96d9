"""Counters, histograms and gauges as plain dicts: an update costs a dict look-up, the Prometheus text is made
when somebody asks for it (`exposition.py`)."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence

Labels = tuple[str, ...]

OTHER = "other"
"""The label value that stands for all that came after a bound was reached."""

SERIES_LIMIT = 20_000

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Histogram bounds for anything between a cache hit and a long stream, in seconds."""


class LabelBound(dict[str, str]):
    """Lets at most `limit` different values through: `bound[value]` is the value itself, or `other` for those that
    came later. A dict, because it is asked several times for every call."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __missing__(self, value: str) -> str:
        if len(self) >= self._limit:
            return OTHER
        self[value] = value
        return value


class Tally:
    """A counter with labels; series beyond the limit are counted together under `other`."""

    __slots__ = ("_limit", "_values", "help", "labels", "name")

    def __init__(self, name: str, help: str, labels: Sequence[str], limit: int = SERIES_LIMIT) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._limit = limit
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Count `amount` under these label values, in the declared order."""
        values = self._values
        try:
            values[labels] += amount
        except KeyError:
            if len(values) >= self._limit:
                labels = (OTHER,) * len(self.labels)
            values[labels] = values.get(labels, 0) + amount

    def value(self, *labels: str) -> float:
        """What has been counted under these label values."""
        return self._values.get(labels, 0)

    def series(self) -> Mapping[Labels, float]:
        """A copy of all values; safe from another thread."""
        return self._values.copy()


class Distribution:
    """A histogram with labels; `bounds` are upper, inclusive and rising."""

    __slots__ = ("_cells", "_limit", "bounds", "help", "labels", "name")

    def __init__(
        self,
        name: str,
        help: str,
        labels: Sequence[str],
        bounds: Sequence[float] = SECONDS,
        limit: int = SERIES_LIMIT // 10,
    ) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self._limit = limit
        self._cells: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count one `value` under these label values, in the declared order."""
        cell = self._cells.get(labels)
        if cell is None:
            if len(self._cells) >= self._limit:
                labels = (OTHER,) * len(self.labels)
            # One count per bound, one above the last, and the sum.
            cell = self._cells.setdefault(labels, [0.0] * (len(self.bounds) + 2))
        cell[bisect_left(self.bounds, value)] += 1
        cell[-1] += value

    def count(self, *labels: str) -> float:
        """How many values were counted under these label values."""
        return sum(self._cells.get(labels, (0.0,))[:-1])

    def series(self) -> Mapping[Labels, tuple[Sequence[float], float]]:
        """Counts per bucket (not cumulative) and sum, copied; safe from another thread."""
        return {labels: (cell[:-1], cell[-1]) for labels, cell in self._cells.copy().items()}


class Level:
    """A gauge with labels that is set; series beyond the limit are left out, since the last of many means nothing."""

    __slots__ = ("_limit", "_values", "help", "labels", "name")

    def __init__(self, name: str, help: str, labels: Sequence[str], limit: int = SERIES_LIMIT // 10) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._limit = limit
        self._values: dict[Labels, float] = {}

    def set(self, labels: Labels, value: float) -> None:
        """The value under these label values, in the declared order, from now on."""
        if labels in self._values or len(self._values) < self._limit:
            self._values[labels] = value

    def series(self) -> Mapping[Labels, float]:
        """A copy of all values; safe from another thread."""
        return self._values.copy()


class Reading:
    """Values that are read when asked for, each under fixed label values."""

    __slots__ = ("_reads", "help", "labels", "name")

    def __init__(self, name: str, help: str, labels: Sequence[str]) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self._reads: dict[Labels, Callable[[], float]] = {}

    def add(self, labels: Labels, read: Callable[[], float]) -> None:
        """Read this too. Raises ValueError when the label values are taken."""
        if labels in self._reads:
            raise ValueError(f"the metric {self.name} exists already with {labels}")
        self._reads[labels] = read

    def value(self, *labels: str) -> float:
        """What is read now under these label values. Raises KeyError."""
        return float(self._reads[labels]())

    def series(self) -> Mapping[Labels, float]:
        """All values, read now."""
        return {labels: float(read()) for labels, read in self._reads.copy().items()}


class Gauge(Reading):
    """What goes up and down."""

    __slots__ = ()


class Counter(Reading):
    """What only grows, counted by somebody else."""

    __slots__ = ()


Family = Tally | Distribution | Level | Gauge | Counter
NO_LABELS: Mapping[str, str] = {}


class Metrics:
    """All metrics of one process. Names are Prometheus names; raises ValueError for one used twice."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def tally(self, name: str, help: str, labels: Sequence[str] = (), limit: int = SERIES_LIMIT) -> Tally:
        """A new counter; `name` ends in `_total`."""
        tally = Tally(name, help, labels, limit)
        self._add(tally)
        return tally

    def distribution(
        self, name: str, help: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS
    ) -> Distribution:
        """A new histogram; `name` ends in its unit."""
        distribution = Distribution(name, help, labels, bounds)
        self._add(distribution)
        return distribution

    def level(self, name: str, help: str, labels: Sequence[str]) -> Level:
        """A new gauge that is set."""
        level = Level(name, help, labels)
        self._add(level)
        return level

    def gauge(
        self, name: str, help: str, read: Callable[[], float], labels: Mapping[str, str] = NO_LABELS
    ) -> None:
        """A value, read at each scrape, perhaps from another thread. With `labels`, such as {"watch": "routes"},
        the same name may be used again with other values of the same labels."""
        self._read(Gauge(name, help, tuple(labels)), tuple(labels.values()), read)

    def counter(
        self, name: str, help: str, read: Callable[[], float], labels: Mapping[str, str] = NO_LABELS
    ) -> None:
        """A count that somebody keeps anyway, read as `gauge` reads; `name` ends in `_total`."""
        self._read(Counter(name, help, tuple(labels)), tuple(labels.values()), read)

    def _read(self, reading: Gauge | Counter, values: Labels, read: Callable[[], float]) -> None:
        known = self._families.get(reading.name)
        if reading.labels and type(known) is type(reading) and known.labels == reading.labels:
            known.add(values, read)
            return
        reading.add(values, read)
        self._add(reading)

    def __iter__(self) -> Iterator[Family]:
        return iter(list(self._families.values()))

    def _add(self, family: Family) -> None:
        if family.name in self._families:
            raise ValueError(f"the metric {family.name} exists already")
        self._families[family.name] = family
