"""Durations, sizes and addresses as people write them: `250ms`, `10m`, `64KiB`, `127.0.0.1:8080`."""

import re
from dataclasses import dataclass
from typing import NewType

Seconds = NewType("Seconds", float)
"""A duration in seconds."""

Bytes = NewType("Bytes", int)
"""A size in bytes."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"(\d+)\s*(B|KB|MB|GB|KiB|MiB|GiB)?")
_SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/]*)):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class HostPort:
    """A TCP address; port 0 lets the system choose. Prints as `host:port`, IPv6 hosts in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """`host:port`, `[ipv6]:port` or `:port` (all interfaces). Raises ValueError."""
        match = _ADDRESS.fullmatch(text.strip())
        if match is None or int(match[3]) > 65535:
            raise ValueError("is not an address such as 127.0.0.1:8080")
        return cls(match[1] or match[2] or "0.0.0.0", int(match[3]))  # noqa: S104 -- what ':8080' means everywhere

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_duration(text: str) -> Seconds:
    """Seconds of `3s`, `250ms`, `10m`, `2h`, `1d`, `1m30s`; a bare `0` too. Raises ValueError."""
    stripped = text.strip()
    if stripped == "0":
        return Seconds(0.0)
    parts = _DURATION.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError("is not a duration such as 250ms, 3s or 10m")
    return Seconds(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """The shortest single-unit text for a duration, such as `250ms` or `10m`."""
    milliseconds = round(seconds * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0"


def parse_size(text: str) -> Bytes:
    """Bytes of `65536`, `64KiB`, `1MB`, `10MiB`. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a size such as 65536, 64KiB or 10MiB")
    return Bytes(int(match[1]) * _SIZE_UNITS[match[2] or "B"])


def format_size(size: int) -> str:
    """The largest binary unit that divides a size, such as `64KiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return str(size)
