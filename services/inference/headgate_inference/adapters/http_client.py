"""Our own HTTP/1.1 client for the request path: a fifth of a general client's cost, and only what providers need.
No redirects, no proxies, no credentials from the environment."""

import ssl
from collections.abc import Mapping

from headgate_clock import Clock
from headgate_inference.adapters.http_pool import HttpPool
from headgate_inference.adapters.http_reply import HttpReply
from headgate_inference.adapters.transport import Disconnected, Target, TransportError


class HttpTransport:
    """A ProviderTransport. `idle_s` and `most_idle` bound what is kept for each origin; `tls` is used instead of
    `http_pool.tls_context()`."""

    def __init__(
        self, clock: Clock, *, idle_s: float = 30.0, most_idle: int = 128, tls: ssl.SSLContext | None = None
    ) -> None:
        self._pool = HttpPool(clock, idle_s=idle_s, most_idle=most_idle, tls=tls)

    async def post(
        self, target: Target, headers: Mapping[str, str], body: bytes, due: float | None = None
    ) -> HttpReply:
        """See ProviderTransport."""
        try:
            request = target.template.request(headers, body)
        except ValueError as fault:
            raise TransportError(str(fault)) from fault
        kept = self._pool.take(target.origin)
        if kept is not None:
            try:
                return await kept.exchange(request, due)
            except Disconnected:
                if kept.heard:
                    raise
                # The server closed it for having been idle, as the request was on its way. That is between the
                # two of us, no attempt of the provider's, and cannot happen again on a fresh connection.
        connection = await self._pool.connect(target.origin, target.connect_s, due)
        return await connection.exchange(request, due)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()
