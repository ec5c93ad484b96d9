"""One mapping of the config file, read key by key. Keys that nobody asked for are unknown keys.

Works on PyYAML's node tree, not on loaded objects: only nodes know their lines, and no text turns into a
surprise (`on`, `1:30`, `0x10`) on the way.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from headgate_settings.config.problems import Problems
from headgate_settings.config.substitution import substitute
from headgate_settings.quantities import Seconds, parse_duration
from headgate_settings.suggest import did_you_mean

T = TypeVar("T")

_INTEGER = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Source:
    """What all sections of one file share."""

    problems: Problems
    environ: Mapping[str, str]

    def report(self, node: Node, message: str) -> None:
        """Note a problem at a node."""
        self.problems.report(line_of(node), message)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as text; `kind` is what YAML takes it for, or `filled` when variables were filled in."""

    text: str
    kind: str
    line: int


def line_of(node: Node) -> int:
    """Line of a node, from 1."""
    return int(node.start_mark.line) + 1


class Section:
    """Hands out typed values by key and reports what is missing, mistyped or out of range."""

    def __init__(self, node: MappingNode, source: Source) -> None:
        self.line = line_of(node)
        self._source = source
        self._asked: set[str] = set()
        self._values: dict[str, Node] = {}
        self._lines: dict[str, int] = {}
        for key, value in node.value:
            self._add(key, value)

    @classmethod
    def open(cls, node: Node, source: Source, what: str) -> "Section | None":
        """The section at a node, or None, reported, when it is no mapping."""
        if isinstance(node, MappingNode):
            return cls(node, source)
        source.report(node, f"{what} must be a mapping of keys to values")
        return None

    def _add(self, key: Node, value: Node) -> None:
        if not isinstance(key, ScalarNode):
            self._source.report(key, "keys must be plain text")
        elif key.value in self._values:
            self._source.report(key, f"the key '{key.value}' stands here twice")
        else:
            self._values[key.value] = value
            self._lines[key.value] = line_of(key)

    def close(self) -> None:
        """Report every key that was not asked for."""
        for key in sorted(self._values.keys() - self._asked):
            hint = did_you_mean(key, self._asked)
            self._source.problems.report(self._lines[key], f"unknown key '{key}'{hint}")

    def problem(self, message: str, key: str | None = None) -> None:
        """Report something about a key's value, or about the section."""
        node = self._values.get(key) if key is not None else None
        self.problem_at(self.line if node is None else line_of(node), message)

    def problem_at(self, line: int, message: str) -> None:
        """Report something in another line of the file."""
        self._source.problems.report(line, message)

    def names(self) -> list[tuple[str, int]]:
        """The keys of a section whose keys are names, in order, with their lines; they count as known."""
        self._asked.update(self._values)
        return list(self._lines.items())

    def text(self, key: str, default: str = "") -> str:
        """A text, or `default` when absent."""
        found = self._scalar(key)
        if found is None:
            return default
        return found.text if self._is(found, key, ("str", "filled"), "text; put it in quotes") else default

    def required(self, key: str) -> str:
        """A text that must be there and not empty."""
        if not self.has(key):
            self.problem(f"'{key}' is missing")
            return ""
        value = self.text(key)
        if not value and self._kind(key) == "str":
            self.problem(f"{key}: must not be empty", key)
        return value

    def choice(self, key: str, choices: Collection[str], default: str = "") -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value and value not in choices:
            self.problem(
                f"{key}: '{value}' is not one of {', '.join(choices)}{did_you_mean(value, choices)}", key
            )
        return value

    def switch(self, key: str, *, default: bool) -> bool:
        """True or false."""
        found = self._scalar(key)
        if found is None or not self._is(found, key, ("bool", "filled"), "true or false"):
            return default
        return found.text.lower() in ("true", "yes", "on")

    def integer(self, key: str, *, least: int, most: int) -> int | None:
        """A whole number in a range, or None when absent."""
        found = self._scalar(key)
        if found is None or not self._is(found, key, ("int", "filled"), "a whole number"):
            return None
        if not _INTEGER.fullmatch(found.text) or len(found.text) > 20:
            self.problem(f"{key}: '{found.text}' is not a whole number", key)
            return None
        value = int(found.text)
        if not least <= value <= most:
            self.problem(f"{key}: {value} is not between {least} and {most}", key)
        return value

    def figure(self, key: str, convert: Callable[[str], T]) -> T | None:
        """A number converted from its exact text, or None when absent; `convert` raises ValueError."""
        found = self._scalar(key)
        if found is None or not self._is(found, key, ("int", "float", "filled", "str"), "a number"):
            return None
        if not _NUMBER.fullmatch(found.text):
            self.problem(f"{key}: must be a number", key)
            return None
        return self._converted(key, found.text, convert)

    def duration(self, key: str) -> Seconds | None:
        """A duration above zero, or None when absent."""
        found = self._scalar(key)
        if found is None:
            return None
        return self._converted(key, found.text, _positive_duration)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; absent is empty."""
        return tuple(
            found.text
            for node in self._items(key)
            if (found := self._read(node, key)) is not None
            and self._is(found, key, ("str", "filled"), "a list of texts")
        )

    def converted(self, key: str, convert: Callable[[str], T]) -> tuple[T, ...]:
        """A list of texts, each converted; `convert` raises ValueError."""
        values = (self._converted(key, text, convert) for text in self.texts(key))
        return tuple(value for value in values if value is not None)

    def section(self, key: str) -> "Section | None":
        """The mapping under a key, or None when absent."""
        node = self._take(key)
        return None if node is None else Section.open(node, self._source, f"'{key}'")

    def sections(self, key: str) -> list["Section"]:
        """The mappings of a list; absent is empty."""
        what = f"each item of '{key}'"
        found = [Section.open(node, self._source, what) for node in self._items(key)]
        return [section for section in found if section is not None]

    def has(self, key: str) -> bool:
        """Whether the key is there with a value."""
        return self._take(key) is not None

    def holds_list(self, key: str) -> bool:
        """Whether the value is a list."""
        return isinstance(self._take(key), SequenceNode)

    def document(self, key: str) -> str:
        """Any mapping as a JSON text; absent is empty."""
        node = self._take(key)
        if node is None:
            return ""
        if not isinstance(node, MappingNode):
            self.problem(f"'{key}' must be a mapping of keys to values", key)
            return ""
        return json.dumps(self._plain(node, key, 0))

    def _take(self, key: str) -> Node | None:
        self._asked.add(key)
        node = self._values.get(key)
        return None if node is None or is_null(node) else node

    def _items(self, key: str) -> Iterator[Node]:
        node = self._take(key)
        if node is None:
            return
        if not isinstance(node, SequenceNode):
            self.problem(f"'{key}' must be a list", key)
            return
        yield from node.value

    def _scalar(self, key: str) -> Scalar | None:
        node = self._take(key)
        return None if node is None else self._read(node, key)

    def _read(self, node: Node, key: str) -> Scalar | None:
        if not isinstance(node, ScalarNode):
            self._source.report(node, f"{key}: must be one value, not a list or a mapping")
            return None
        if "$" not in node.value:
            return Scalar(node.value, node.tag.rpartition(":")[2], line_of(node))
        try:
            return Scalar(substitute(node.value, self._source.environ), "filled", line_of(node))
        except ValueError as error:
            self._source.report(node, f"{key}: {error}")
            return None

    def _kind(self, key: str) -> str:
        node = self._values[key]
        return str(node.tag).rpartition(":")[2] if isinstance(node, ScalarNode) else ""

    def _is(self, found: Scalar, key: str, kinds: Collection[str], wanted: str) -> bool:
        if found.kind in kinds:
            return True
        self._source.problems.report(found.line, f"{key}: must be {wanted}")
        return False

    def _converted(self, key: str, text: str, convert: Callable[[str], T]) -> T | None:
        try:
            return convert(text)
        except ValueError as error:
            self.problem(f"{key}: {error}", key)
            return None

    def _plain(self, node: Node, key: str, depth: int) -> object:
        # An anchor may contain itself; the depth ends that too.
        if depth > _DEEPEST:
            self._source.report(node, f"{key}: is nested deeper than {_DEEPEST} levels")
            return None
        if isinstance(node, SequenceNode):
            return [self._plain(each, key, depth + 1) for each in node.value]
        if isinstance(node, MappingNode):
            return {str(name.value): self._plain(value, key, depth + 1) for name, value in node.value}
        found = self._read(node, key)
        return None if found is None else _json_value(found)


def _json_value(found: Scalar) -> object:
    if found.kind == "null":
        return None
    if found.kind == "bool":
        return found.text.lower() in ("true", "yes", "on")
    if found.kind == "int" and _INTEGER.fullmatch(found.text):
        return int(found.text)
    if found.kind == "float" and _NUMBER.fullmatch(found.text):
        return float(found.text)
    return found.text


def is_null(node: Node) -> bool:
    """Whether a node holds nothing, as `models:` does with nothing behind it."""
    return isinstance(node, ScalarNode) and bool(node.tag == "tag:yaml.org,2002:null")


def _positive_duration(text: str) -> Seconds:
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"'{text}' {error}") from None
    if not value:
        raise ValueError("must be longer than nothing")
    return value
