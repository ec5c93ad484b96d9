"""Requests as bytes: what is the same for every request to one URL is written once."""

import base64
import re
from collections.abc import Mapping
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

    __slots__ = ("_forms", "_lines", "_start")

    def __init__(self, url: URL, headers: Mapping[str, str]) -> None:
        self._start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n".encode(
            "ascii"
        )
        self._lines = {"authorization": _basic(url)} if url.raw_user is not None else {}
        self._lines.update(
            {_key(name): b"%b: %b\r\n" % (name.encode(), _value(headers[name])) for name in headers}
        )
        # One for each set of names that requests bring, and those are ours: no caller names a header.
        self._forms: dict[tuple[str, ...], bytes] = {}

    def request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """One request; `headers` win over the constant ones of the same name. Raises ValueError for a name or
        value that cannot be sent."""
        names = tuple(headers)
        form = self._forms.get(names)
        if form is None:
            form = self._forms[names] = self._form(names)
        return form % (*map(_value, headers.values()), len(body), body)

    def _form(self, names: tuple[str, ...]) -> bytes:
        """A request with places for the values of these headers, the length and the body."""
        own = {_key(name): name for name in names}
        if len(own) < len(names):
            raise ValueError("a header is given twice")
        kept = (line for name, line in self._lines.items() if name not in own)
        start = b"".join((self._start, *kept)).replace(b"%", b"%%")
        lines = (b"%b: %%b\r\n" % name.replace("%", "%%").encode() for name in names)
        return b"".join((start, *lines, b"Content-Length: %d\r\n\r\n%b"))


def _key(name: str) -> str:
    key = name.lower()
    if not _NAME.fullmatch(name) or key in _OURS:
        raise ValueError(f"{name!r} is no header that can be set")
    return key


def _value(value: str) -> bytes:
    if not value.isprintable() and not _VALUE(value):
        raise ValueError("the value of a header has control characters")
    return value.encode()


def _basic(url: URL) -> bytes:
    pair = base64.b64encode(f"{url.user or ''}:{url.password or ''}".encode())
    return b"Authorization: Basic " + pair + b"\r\n"
