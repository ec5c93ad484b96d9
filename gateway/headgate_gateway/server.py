"""The HTTP listener: binds, serves and stops within a loop that is already running."""

import asyncio

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from headgate_gateway.limits import Limits
from headgate_gateway.protocol import GatewayProtocol, Refuse

BACKLOG = 2048
CUT_SECONDS = 5


class GatewayServer:
    """Serves `app` on `host:port`; port 0 lets the system choose. `idle_timeout` is in seconds."""

    def __init__(
        self,
        app: ASGIApp,
        refuse: Refuse,
        host: str,
        port: int,
        *,
        limits: Limits,
        idle_timeout: float = 75,
        reuse_port: bool = False,
    ) -> None:
        self._host = host
        self._port = port
        self._limits = limits
        self._refuse = refuse
        self._reuse_port = reuse_port
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._config = Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        # Config takes whole seconds only; the protocol reads any number.
        self._config.timeout_keep_alive = idle_timeout  # type: ignore[assignment]

    async def start(self) -> int:
        """Bind and serve. Returns the port. Raises OSError when the address cannot be bound."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: GatewayProtocol(self._config, self._state, self._limits, self._refuse),
            self._host,
            self._port,
            backlog=BACKLOG,
            reuse_port=self._reuse_port or None,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self, grace: float) -> None:
        """Take no more requests, let running ones end for at most `grace` seconds, then cut them."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks), timeout=grace)
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:
            # An aborted connection cancels its handler; what hangs on regardless must not hold up the process.
            await asyncio.wait(list(self._state.tasks), timeout=CUT_SECONDS)
        self._server = None
