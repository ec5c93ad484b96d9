"""`GET /healthz` (alive) and `GET /readyz` (can serve), OPS-7."""

from collections.abc import Callable, Sequence

from headgate_gateway.exchange import Exchange
from headgate_gateway.strict_json import encode

FailingParts = Callable[[], Sequence[str]]
"""Names of the parts that cannot serve now; empty when all can."""


class Health:
    """Answers probes from what `failing` says."""

    def __init__(self, failing: FailingParts) -> None:
        self._failing = failing

    async def alive(self, exchange: Exchange) -> None:
        """200 as long as the process answers at all."""
        await exchange.answer(encode({"status": "ok"}), {})

    async def ready(self, exchange: Exchange) -> None:
        """200, or 503 with the failing parts."""
        failing = list(self._failing())
        status, word = (503, "not ready") if failing else (200, "ready")
        metadata = {"retry-after": "1"} if failing else {}
        await exchange.answer(encode({"status": word, "failing": failing}), metadata, status)
