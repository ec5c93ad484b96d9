"""What auth remembers of changes to what credentials may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the log of invalidations. Versions of one epoch grow by one in the order of the commits, over
    all replicas; between two epochs there is no order."""

    epoch: str
    version: int


@dataclass(frozen=True, slots=True)
class Invalidation:
    """`principal/<id>` or `account/<id>`: what was known of it before `version` is void."""

    version: int
    name: str


@dataclass(frozen=True, slots=True)
class Log:
    """The log's end, and what came after the version asked for, oldest first; only the last `KEPT` are kept."""

    end: Mark
    changes: tuple[Invalidation, ...]

    def follows(self, mark: Mark) -> bool:
        """Whether nothing is missing between `mark` and `changes`."""
        first = self.changes[0].version if self.changes else self.end.version + 1
        return mark.epoch == self.end.epoch and mark.version == first - 1


KEPT = 10_000
