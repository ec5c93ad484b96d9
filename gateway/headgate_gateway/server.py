"""The HTTP listener: binds, serves and stops within a loop that is already running."""

import asyncio

from headgate_gateway.connection import Connection, Opened, Refuse, Serve
from headgate_gateway.limits import Limits

BACKLOG = 2048
CUT_SECONDS = 5


class GatewayServer:
    """Answers requests with `serve` on `host:port`; port 0 lets the system choose."""

    def __init__(
        self,
        serve: Serve,
        refuse: Refuse,
        host: str,
        port: int,
        *,
        limits: Limits,
        reuse_port: bool = False,
    ) -> None:
        self._serve = serve
        self._refuse = refuse
        self._host = host
        self._port = port
        self._limits = limits
        self._reuse_port = reuse_port
        self._opened = Opened()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Bind and serve. Returns the port. Raises OSError when the address cannot be bound."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._serve, self._refuse, self._limits, self._opened),
            self._host,
            self._port,
            backlog=BACKLOG,
            reuse_port=self._reuse_port or None,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def running(self) -> int:
        """Requests being answered now, streams among them."""
        return sum(connection.busy for connection in self._opened.connections)

    async def stop(self, grace: float) -> None:
        """Take no more requests, let running ones end for at most `grace` seconds, then cut them."""
        if self._server is None:
            return
        self._server.close()
        connections, tasks = self._opened.connections, self._opened.tasks
        for connection in list(connections):
            connection.shut_down()
        if tasks:
            await asyncio.wait(list(tasks), timeout=grace)
        for connection in list(connections):
            connection.abort()
        if tasks:
            # An aborted connection cancels its handler; what hangs on regardless must not hold up the process.
            await asyncio.wait(list(tasks), timeout=CUT_SECONDS)
        self._server = None
