"""Ids of what auth keeps."""

import secrets
import string

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def new_id(kind: str) -> str:
    """`<kind>_` and 20 random letters and digits."""
    return f"{kind}_" + "".join(secrets.choice(_ALPHABET) for _ in range(20))
