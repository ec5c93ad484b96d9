"""The operators' listener: `/metrics`, `/healthz`, `/readyz`. Not for the outside; it has no credential."""

import asyncio
from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from headgate_settings import HostPort
from headgate_telemetry.exposition import Exposition
from headgate_telemetry.metrics import Metrics


class OpsServer:
    """Serves the metrics and the state of one process. `failing` names the parts that cannot serve; none means
    ready."""

    def __init__(self, address: HostPort, metrics: Metrics, failing: Callable[[], Sequence[str]]) -> None:
        self._address = address
        self._exposition = Exposition(metrics)
        self._failing = failing
        self._runner: web.AppRunner | None = None

    async def start(self) -> HostPort:
        """Listen; returns the address in use. Raises OSError that names the variable to set."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._address.host, self._address.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise OSError(
                error.errno, f"{self._address} is taken; set HEADGATE_OPS to a free address"
            ) from error
        return HostPort(self._address.host, self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        # In a thread: with many accounts this is a long piece of Python.
        accept = request.headers.get("Accept", "")
        body, content_type = await asyncio.to_thread(self._exposition.render, accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        failing = list(self._failing())
        body = orjson.dumps({"status": "failing" if failing else "ready", "failing": failing})
        return web.Response(body=body, content_type="application/json", status=503 if failing else 200)
