"""API keys: their form, how they are found in metadata, and the digests they are kept under."""

from headgate_credentials.digests import cache_key, digest
from headgate_credentials.keys import GeneratedKey, ParsedKey, generate, parse
from headgate_credentials.metadata import from_metadata

__all__ = ["GeneratedKey", "ParsedKey", "cache_key", "digest", "from_metadata", "generate", "parse"]
