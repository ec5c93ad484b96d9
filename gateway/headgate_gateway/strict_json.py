"""The one gate for JSON bodies: what it lets through, every parser reads the same way.

Duplicate keys, NaN, numbers that overflow, lone surrogates, other encodings, comments and deep nesting are where
JSON parsers differ, so that what was checked here would not be what a provider reads.
"""

import re
from collections.abc import Iterable, Mapping
from math import isinf
from typing import TypeVar

import jiter
import msgspec

from headgate_rpc.errors import HeadgateError, Reason

T = TypeVar("T")

Tree = Mapping[str, object]
"""A JSON object of Python's own types."""

MAX_DEPTH = 32
# As objects of Python's they take up to 300 bytes each, whatever two or three bytes they came in.
MAX_VALUES = 1_000_000
_MAX_TEXT = 200
_LEAST_INTEGER = -(2**63)
_MOST_INTEGER = 2**64 - 1

_DUPLICATE = re.compile(r'Detected duplicate key "(.*)" at', re.DOTALL)
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?(.*)", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "array": "a list",
    "object": "an object",
    "bool": "true or false",
    "null": "null",
}


class Malformed(HeadgateError):
    """A request the gateway cannot translate. Who sent it has not been looked at yet; it still costs the caller
    one request, so the edge asks for the caller before it answers (RATE-21)."""


def malformed(message: str, field: str | None = None) -> Malformed:
    """A refusal of what the caller wrote."""
    return Malformed(Reason.INVALID_REQUEST, message[:_MAX_TEXT], field=field and field[:_MAX_TEXT])


def parse(body: bytes) -> Tree:
    """The JSON object in `body`. Raises Malformed with line and column, or the field, of the fault."""
    _check_width(body)
    try:
        tree = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as fault:
        duplicate = _DUPLICATE.match(str(fault))
        raise malformed(f"The body is not valid JSON: {fault}.", duplicate and duplicate[1]) from None
    if type(tree) is not dict:
        raise malformed("The body must be a JSON object.")
    _check(tree)
    return tree


def typed(tree: object, wanted: type[T], at: str = "") -> T:
    """`tree` as the type `wanted`; `at` is the path of `tree` in the body. Raises Malformed naming the field."""
    try:
        return msgspec.convert(tree, wanted)
    except msgspec.ValidationError as fault:
        raise _explain(str(fault), at) from None


def encode(tree: object) -> bytes:
    """JSON bytes of a value that came through `parse`."""
    return msgspec.json.encode(tree)


def rest_of(tree: Tree, known: frozenset[str]) -> bytes:
    """The fields of `tree` that are not `known`, as a JSON object in their order; empty when there are none."""
    if tree.keys() <= known:
        return b""
    return encode({key: value for key, value in tree.items() if key not in known})


def _check_width(body: bytes) -> None:
    """No value without one of these before it; those within text are counted along, since it is only a bound."""
    if len(body) > MAX_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise malformed(f"The body has too many values: over {MAX_VALUES} commas and opening brackets.")


def _check(tree: dict[str, object]) -> None:
    """No value that parsers read differently; one level after the other."""
    level: list[dict[str, object] | list[object]] = [tree]
    for _ in range(MAX_DEPTH):
        below: list[dict[str, object] | list[object]] = []
        for node in level:
            for value in node.values() if type(node) is dict else node:
                if type(value) is str:
                    continue
                if type(value) is dict or type(value) is list:
                    below.append(value)
                elif type(value) is int:
                    if not _LEAST_INTEGER <= value <= _MOST_INTEGER:
                        raise _unsound("Field '{}' is an integer of more than 64 bits.", tree, value)
                elif type(value) is float and isinf(value):
                    raise _unsound("Field '{}' is a number out of range.", tree, value)
        if not below:
            return
        level = below
    raise _unsound(f"The body is nested deeper than {MAX_DEPTH} levels.", tree, level[0])


def _unsound(complaint: str, tree: object, value: object) -> Malformed:
    """The refusal of `value`, which is somewhere in `tree`."""
    field = _dotted(reversed(_way_back(tree, value) or []))
    return malformed(complaint.format(field), field)


def _way_back(node: object, value: object) -> list[str | int] | None:
    """The path from this very value outwards; None when it is not below `node`."""
    if node is value:
        return []
    members: Iterable[tuple[str | int, object]] = ()
    if type(node) is dict:
        members = node.items()
    elif type(node) is list:
        members = enumerate(node)
    for key, each in members:
        if (way := _way_back(each, value)) is not None:
            return [*way, key]
    return None


def _dotted(path: Iterable[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _explain(text: str, at: str) -> Malformed:
    placed = _AT.fullmatch(text)
    complaint, below = placed.groups() if placed else (text, "")
    path = at + below if below.startswith("[") or not at or not below else f"{at}.{below}"
    if missing := _MISSING.match(complaint):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return malformed(f"Field '{field}' is missing.", field)
    if not path:
        return malformed("The body must be a JSON object.")
    return malformed(f"Field '{path}' {_requirement(complaint)}.", path)


def _requirement(complaint: str) -> str:
    match = _EXPECTED.match(complaint)
    if match is None:
        return f"is wrong: {complaint[0].lower()}{complaint[1:]}" if complaint else "is wrong"
    expected, got, bound = match.groups()
    if got:
        return f"must be {_words(expected)}, not {_words(got)}"
    if "length >= 1" in bound:
        return "must not be empty"
    if "matching regex" in bound:
        return "has characters that are not allowed"
    return f"must be {_words(expected)}{bound}"


def _words(types: str) -> str:
    names = [name for name in types.split(" | ") if name != "null"] or ["null"]
    return " or ".join(_WORDS.get(name, name) for name in names)
