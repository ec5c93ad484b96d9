"""What is wrong with a config file: every problem, each one line with file and line number."""

from collections.abc import Collection
from dataclasses import dataclass, field


class ConfigError(ValueError):
    """A config file that cannot be used; `problems` are lines such as `headgate.yaml:12: unknown key 'x'`."""

    def __init__(self, problems: Collection[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Problems:
    """Collects problems, so that one run of a check shows them all."""

    file: str
    _found: list[tuple[int, str]] = field(default_factory=list)

    def report(self, line: int, message: str) -> None:
        """Note one problem; `line` counts from 1."""
        self._found.append((line, message))

    def raise_if_any(self) -> None:
        """Raises ConfigError with everything reported so far, by line."""
        if self._found:
            ordered = sorted(dict.fromkeys(self._found), key=lambda found: found[0])
            raise ConfigError([f"{self.file}:{line}: {message}" for line, message in ordered])
