"""Limits as reply metadata (RATE-15 to RATE-19): the suite's own names and those that OpenAI SDKs read."""

from headgate_leases.refusal import BucketState

UNLIMITED = "2147483647"


def request_headers(metadata: dict[str, str], bucket: BucketState, now_ms: int) -> None:
    """Writes how the tightest request bucket stands."""
    limit, remaining = str(bucket.limit), str(bucket.remaining)
    metadata["x-ratelimit-limit"] = metadata["x-ratelimit-limit-requests"] = limit
    metadata["x-ratelimit-remaining"] = metadata["x-ratelimit-remaining-requests"] = remaining
    metadata["x-ratelimit-reset"] = str(-(-bucket.reset_at_ms // 1000))
    metadata["x-ratelimit-reset-requests"] = duration(bucket.reset_at_ms - now_ms)


def unlimited_headers(metadata: dict[str, str], now_ms: int) -> None:
    """Writes figures that integer parsers take for a caller without limits."""
    metadata["x-ratelimit-limit"] = metadata["x-ratelimit-limit-requests"] = UNLIMITED
    metadata["x-ratelimit-remaining"] = metadata["x-ratelimit-remaining-requests"] = UNLIMITED
    metadata["x-ratelimit-reset"] = str(now_ms // 1000 + 60)
    metadata["x-ratelimit-reset-requests"] = "1m0s"


def token_headers(metadata: dict[str, str], bucket: BucketState, now_ms: int) -> None:
    """Writes how the token bucket stands."""
    metadata["x-ratelimit-limit-tokens"] = str(bucket.limit)
    metadata["x-ratelimit-remaining-tokens"] = str(bucket.remaining)
    metadata["x-ratelimit-reset-tokens"] = duration(bucket.reset_at_ms - now_ms)


def duration(ms: int) -> str:
    """A duration as OpenAI writes it: `12ms`, `1.5s`, `6m0s`; never negative."""
    if ms <= 0:
        return "0ms"
    if ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    seconds, fraction = divmod(rest, 1000)
    text = f"{seconds}.{fraction:03d}".rstrip("0") + "s" if fraction else f"{seconds}s"
    return f"{minutes}m{text}" if minutes else text
