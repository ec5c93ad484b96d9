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
    values = tuple(fields.values())
    text = "".join(values).encode("ascii", "replace")
    if len(text.translate(None, _CONTROLS)) != len(text):
        raise RuntimeError("a header has a control character")
    return (_template(status, tuple(fields)) % values).encode("ascii", "replace")


@lru_cache(256)
def _template(status: int, names: tuple[str, ...]) -> str:
    """The head of all replies with these fields, values left out: there are few different ones."""
    for name in names:
        if not name or _NO_NAME.search(name):
            raise RuntimeError(f"{name!r} is not the name of a header")
    fields = "".join(f"{name.replace('%', '%%')}: %s\r\n" for name in names)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{fields}\r\n"
