"""The two digests of a credential: one to store it under, one to remember it by."""

import hashlib
import hmac

from headgate_settings import Secret


def digest(text: str, pepper: Secret) -> bytes:
    """HMAC-SHA256 under the server's pepper (32 bytes): what auth stores instead of the key."""
    return hmac.digest(pepper.reveal().encode(), text.encode(), "sha256")


def cache_key(text: str) -> bytes:
    """SHA-256 (32 bytes): what a process remembers a credential by, without keeping it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
