"""The key form `sk-hg-<id>_<secret><checksum>` (AUTH-8): 16 letters of id, 30 of secret (178 bits), and a
CRC-32 over everything before it in 6, all base62, so that noise is told from a key without a look-up."""

import re
import secrets
import string
from binascii import crc32
from dataclasses import dataclass

from headgate_settings import Secret

PREFIX = "sk-hg-"
ID_LETTERS = 16
SECRET_LETTERS = 30
CHECKSUM_LETTERS = 6

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(
    rf"({PREFIX}([0-9A-Za-z]{{{ID_LETTERS}}})_[0-9A-Za-z]{{{SECRET_LETTERS}}})"
    rf"([0-9A-Za-z]{{{CHECKSUM_LETTERS}}})"
)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A text with the form and checksum of a key; whether the key exists is for auth to say."""

    id: str
    prefix: str


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new key: `text` is the whole of it, `prefix` what may be shown of it."""

    id: str
    text: Secret
    prefix: str


def generate() -> GeneratedKey:
    """A new key from the system's randomness."""
    key_id = _letters(ID_LETTERS)
    body = f"{PREFIX}{key_id}_{_letters(SECRET_LETTERS)}"
    return GeneratedKey(key_id, Secret(body + _checksum(body)), PREFIX + key_id)


def parse(text: str) -> ParsedKey | None:
    """The parts of a key that may be shown, or None for anything that is not in the form of one."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(match[1]) != match[3]:
        return None
    return ParsedKey(match[2], PREFIX + match[2])


def _letters(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))


def _checksum(body: str) -> str:
    value = crc32(body.encode())
    letters = ""
    for _ in range(CHECKSUM_LETTERS):
        value, digit = divmod(value, 62)
        letters = _ALPHABET[digit] + letters
    return letters
