"""Whether a process can serve: what `/readyz` and the gRPC health say."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from headgate_hosting.service import DATA_PLANE
from headgate_rpc.server import RpcServer

_LOOK_EVERY_S = 0.2


class Readiness:
    """Asks the services of a process what is failing. Between `begin` and `end` it is ready while anything useful can
    be served: where calls to models are answered, that; else the word of any one service is enough."""

    def __init__(self) -> None:
        self._state: Literal["starting", "serving", "stopping"] = "starting"
        self._services: dict[str, Callable[[], Sequence[str]]] = {}

    def add(self, service: str, failing: Callable[[], Sequence[str]]) -> None:
        """Ask this service too."""
        self._services[service] = failing

    def begin(self) -> None:
        """Everything has started."""
        self._state = "serving"

    def end(self) -> None:
        """Everything will be stopped."""
        self._state = "stopping"

    def failing(self) -> list[str]:
        """What keeps the process from serving now, in a word each; empty when it serves."""
        if self._state != "serving":
            return [self._state]
        found = {name: failing() for name, failing in self._services.items()}
        data_plane = [words for name, words in found.items() if name in DATA_PLANE]
        if not data_plane and not all(found.values()):
            return []
        return [word for words in data_plane or found.values() for word in words]

    async def tell(self, servers: Sequence[RpcServer]) -> None:
        """Keep the health of these servers true, until cancelled: clients then go to another replica."""
        said = None
        while True:
            ready = not self.failing()
            if ready != said:
                said = ready
                for server in servers:
                    await server.set_serving(ready)
            await asyncio.sleep(_LOOK_EVERY_S)
