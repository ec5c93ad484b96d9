"""The gateway under any ASGI server."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from headgate_gateway.wire import ClientGone, joined
from headgate_rpc.errors import HeadgateError


class AsgiWire:
    """A request in ASGI's terms; see `wire.Wire`. ASGI does not tell when a client leaves unless it is asked."""

    refusal: HeadgateError | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.fields: Mapping[bytes, bytes] = joined(list(scope["headers"]))
        client = scope.get("client")
        self.client_address: str = client[0] if client else ""
        self.started = self.gone = False

    async def read(self) -> tuple[bytes, bool]:
        """See Wire."""
        message = await self._receive()
        if message["type"] != "http.request":
            self.gone = True
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    async def reply(self, status: int, fields: dict[str, str], body: bytes) -> None:
        """See Wire."""
        fields["content-length"] = str(len(body))
        await self.open(status, fields)
        await self.piece(body, more=False)

    async def open(self, status: int, fields: dict[str, str]) -> None:
        """See Wire."""
        headers = [(name.encode(), value.encode("ascii", "replace")) for name, value in fields.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.started = True

    async def piece(self, data: bytes, more: bool) -> None:
        """See Wire."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
