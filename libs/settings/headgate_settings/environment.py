"""Environment variables to one frozen settings object per service.

The only module of the suite that touches `os.environ`.
"""

import dataclasses
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from headgate_settings.quantities import Bytes, HostPort, Seconds, parse_duration, parse_size
from headgate_settings.secret import Secret
from headgate_settings.suggest import did_you_mean

T = TypeVar("T")

_PREFIX = "HEADGATE_"

# Kubernetes describes every Service of the namespace to each pod; one called `headgate-auth` becomes these.
_SERVICE_LINK = re.compile(
    r"HEADGATE_\w*?(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP)(_PROTO|_PORT|_ADDR)?)"
)


class SettingsError(ValueError):
    """Variables that cannot be used; one problem a line, each naming its variable."""

    def __init__(self, problems: Collection[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclasses.dataclass(frozen=True, slots=True)
class Declaration:
    """What one settings field declares: its variable, its meaning, its type and default."""

    field: str
    env: str
    help: str
    type: object
    default: object


def setting(*, env: str, default: T, help: str) -> T:
    """A settings field filled from the variable `env`; unset and empty both mean `default`."""
    return dataclasses.field(default=default, metadata={"env": env, "help": help})


def environment() -> dict[str, str]:
    """A copy of this process's variables."""
    return dict(os.environ)


def declarations(settings_class: type[object]) -> Iterator[Declaration]:
    """The settings that a class declares, in order; fields without `setting` are not settings."""
    hints = get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]  # any dataclass
        if "env" in field.metadata:
            env, meaning = field.metadata["env"], field.metadata["help"]
            yield Declaration(field.name, env, meaning, hints[field.name], field.default)


def load(settings_class: type[T], environ: Mapping[str, str]) -> T:
    """The settings object for these variables. Raises SettingsError with every problem."""
    values: dict[str, object] = {}
    problems: list[str] = []
    for declared in declarations(settings_class):
        text = environ.get(declared.env, "")
        if not text:
            continue
        try:
            values[declared.field] = parse(declared.type, text)
        except ValueError as error:
            shown = "***" if declared.type is Secret else repr(text)
            problems.append(f"{declared.env}: {shown} {error}")
    if problems:
        raise SettingsError(problems)
    return settings_class(**values)


def check_unknown(
    environ: Mapping[str, str], settings_classes: Collection[type[object]], *, also: Collection[str] = ()
) -> None:
    """Raises SettingsError for each `HEADGATE_…` variable that no class declares and `also` lacks."""
    known = {declared.env for each in settings_classes for declared in declarations(each)} | set(also)
    unknown = sorted(
        name
        for name, value in environ.items()
        if name.startswith(_PREFIX) and name not in known and not _is_service_link(name, value)
    )
    if unknown:
        raise SettingsError([f"{name}: unknown variable{did_you_mean(name, known)}" for name in unknown])


def parse(wanted: object, text: str) -> object:
    """`text` as the type of a settings field. Raises ValueError that completes `'<text>' …`."""
    if get_origin(wanted) in (Union, UnionType):
        (wanted,) = (each for each in get_args(wanted) if each is not NoneType)
    if get_origin(wanted) is Literal:
        return _one_of(get_args(wanted), text)
    if get_origin(wanted) is tuple:
        element = get_args(wanted)[0]
        return tuple(parse(element, part.strip()) for part in text.split(",") if part.strip())
    parser = _PARSERS.get(wanted)
    if parser is None:
        raise TypeError(f"settings fields cannot have the type {wanted}")
    return parser(text)


def _one_of(choices: Collection[str], text: str) -> str:
    if text not in choices:
        raise ValueError(f"is not one of {', '.join(choices)}{did_you_mean(text, choices)}")
    return text


def _is_service_link(name: str, value: str) -> bool:
    return _SERVICE_LINK.fullmatch(name) is not None or (name.endswith("_PORT") and "://" in value)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(value):
        raise ValueError("is not a finite number")
    return value


def _switch(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither on nor off")


_PARSERS: dict[object, Callable[[str], object]] = {
    str: str,
    int: _integer,
    float: _number,
    bool: _switch,
    Path: lambda text: Path(text).expanduser(),
    Secret: Secret,
    Seconds: parse_duration,
    Bytes: parse_size,
    HostPort: HostPort.parse,
}
