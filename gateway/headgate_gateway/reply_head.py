"""The head of a reply as bytes: its fields are checked together, by a template for each set of names."""

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus

# RFC 9110 section 5.1: what is no token is no name.
_NO_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
# Of these only a tab may be in a value (RFC 9110 section 5.5).
_CONTROLS = bytes({*range(32), 127} - {9})


def head_of(status: int, fields: Mapping[str, str]) -> bytes:
    """Status line, fields and the empty line; what is not ASCII becomes a question mark. Raises RuntimeError for a
    field that would be more than one."""
    text = "".join(fields.values()).encode("ascii", "replace")
    if len(text.translate(None, _CONTROLS)) != len(text):
        raise RuntimeError("a header has a control character")
    head = list(_template(status, tuple(fields)))
    head[1::2] = fields.values()
    return "".join(head).encode("ascii", "replace")


@lru_cache(256)
def _template(status: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """The pieces of all heads with these fields, every second one a value's place: there are few different ones."""
    for name in names:
        if not name or _NO_NAME.search(name):
            raise RuntimeError(f"{name!r} is not the name of a header")
    before = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    pieces = []
    for name in names:
        pieces += [f"{before}{name}: ", ""]
        before = "\r\n"
    return *pieces, before + "\r\n"
