"""Requests as bytes: what is the same for every request to one URL is written once."""

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
# Two opinions about where a message ends, or whose it is, are how requests get smuggled: only we set these.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class Origin(NamedTuple):
    """What a connection is good for. `host` is ASCII, without brackets."""

    tls: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: URL) -> "Origin":
        """The origin of an http(s) URL. Raises ValueError."""
        if url.scheme not in ("http", "https") or not url.raw_host or not url.port:
            raise ValueError(f"{str(url)!r} is not an http(s) URL")
        return cls(url.scheme == "https", url.raw_host, url.port)


class PostTemplate:
    """A POST to one URL with constant headers; credentials in the URL become Basic authorization unless there is
    an Authorization header. Raises ValueError for headers that cannot be sent."""

    __slots__ = ("_lines", "_prefix", "_start")

    def __init__(self, url: URL, headers: Mapping[str, str]) -> None:
        self._start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n".encode(
            "ascii"
        )
        self._lines = {"authorization": _basic(url)} if url.raw_user is not None else {}
        self._lines.update(_lines(headers.items()))
        self._prefix = self._start + b"".join(self._lines.values())

    def request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """One request; `headers` win over the constant ones of the same name. Raises ValueError for a name or
        value that cannot be sent."""
        own = _lines(headers.items())
        prefix = self._prefix
        if not own.keys().isdisjoint(self._lines):
            prefix = self._start + b"".join(line for name, line in self._lines.items() if name not in own)
        return b"".join((prefix, *own.values(), b"Content-Length: %d\r\n\r\n" % len(body), body))


def _lines(headers: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    return {_key(name): _line(name, value) for name, value in headers}


@lru_cache(256)
def _key(name: str) -> str:
    key = name.lower()
    if not _NAME.fullmatch(name) or key in _OURS:
        raise ValueError(f"{name!r} is no header that can be set")
    return key


def _line(name: str, value: str) -> bytes:
    if not value.isprintable() and not _VALUE(value):
        raise ValueError(f"the value of the header {name!r} has control characters")
    return f"{name}: {value}\r\n".encode()


def _basic(url: URL) -> bytes:
    pair = base64.b64encode(f"{url.user or ''}:{url.password or ''}".encode())
    return b"Authorization: Basic " + pair + b"\r\n"
