"""`${NAME}` in values of the config file stands for a variable; `$$` is a dollar sign."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its variables filled in. Raises ValueError for one that is malformed, unset or empty."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        if not match[0].endswith("}") or not _NAME.fullmatch(name):
            raise ValueError(f"'{match[0]}' is not a variable such as ${{NAME}}; write $$ for a dollar sign")
        if not environ.get(name):
            raise ValueError(f"the variable '{name}' is not set")
        return environ[name]

    return _REFERENCE.sub(value_of, text)
