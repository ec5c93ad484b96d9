"""The settings table of the README, made from the declarations so that it cannot be wrong."""

from collections.abc import Collection
from pathlib import Path

from headgate_settings.environment import Declaration, declarations
from headgate_settings.quantities import Bytes, Seconds, format_duration, format_size
from headgate_settings.secret import Secret


def settings_table(settings_classes: Collection[type[object]]) -> str:
    """Markdown table of variable, default and meaning, by variable; ends with a newline.

    Raises ValueError when two classes give one variable different defaults.
    """
    merged: dict[str, Declaration] = {}
    for declared in (each for cls in settings_classes for each in declarations(cls)):
        first = merged.setdefault(declared.env, declared)
        if first.default != declared.default:
            raise ValueError(f"{declared.env} is declared with two defaults")
    lines = ["| Variable | Default | Meaning |", "| --- | --- | --- |"]
    for env in sorted(merged):
        lines.append(
            f"| `{env}` | {_default(merged[env])} | {merged[env].help.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines) + "\n"


def _default(declared: Declaration) -> str:
    text = _text(declared.type, declared.default)
    return f"`{text}`" if text else "–"


def _text(kind: object, value: object) -> str:
    if value is None or isinstance(value, Secret):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if kind is Seconds and isinstance(value, float | int):
        return format_duration(value)
    if kind is Bytes and isinstance(value, int):
        return format_size(value)
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    if isinstance(value, Path) and not value.is_absolute():
        return f"./{value}"
    return str(value)
