"""One answer, from its head to its last byte: filled by a connection, read by an adapter."""

import asyncio
from typing import Protocol

from headgate_inference.adapters.content_coding import BadCoding, Decoder, decoder_for
from headgate_inference.adapters.transport import TransportError

_DRAIN_S = 1.0
_DRAIN_BYTES = 64 * 1024


class Sender(Protocol):
    """The connection an answer comes over, as the answer sees it."""

    def resume(self) -> None:
        """Go on reading."""

    def abort(self) -> None:
        """Drop the connection at once."""


class HttpReply:
    """A ProviderReply. The connection appends to `pieces` and counts in `buffered` what waits to be read, in bytes
    on the wire; reading is the caller's pace, so it stops when that is too many."""

    __slots__ = (
        "_decoder", "_drain", "_drained", "_fault", "_headers", "_sender", "_taken", "_waiter",
        "buffered", "due", "pieces", "status",
    )  # fmt: skip

    def __init__(self, sender: Sender, due: float | None = None) -> None:
        self.due = due
        self.status = 0
        self.buffered = 0
        self.pieces: list[bytes] = []
        self._sender: Sender | None = sender
        self._headers: dict[bytes, bytes] = {}
        self._decoder: Decoder | None = None
        self._fault: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.TimerHandle | None = None
        self._drained = 0
        self._taken = 0

    # For the adapter

    def header(self, name: str) -> str:
        """A header's value, or an empty string."""
        return self._headers.get(name.lower().encode(), b"").decode("latin-1")

    async def read(self) -> bytes:
        """What is ready of the body, empty at its end. Raises TransportError."""
        while True:
            if self.pieces or (self._decoder is not None and self._decoder.held):
                if data := self._take():
                    return data
            elif self._sender is None and self._fault is None:
                self._finish()
                return b""
            else:
                await self.more()

    def close(self) -> None:
        """Drop the connection at once, unless the answer is complete."""
        if self._sender is not None:
            self._sender.abort()

    def release(self) -> None:
        """Let the rest of the body come and go, if it is little and comes soon: waiting for it here would add that
        moment to every stream, and not waiting would cost the connection."""
        if self._sender is not None and self._drain is None:
            self._drain = asyncio.get_running_loop().call_later(_DRAIN_S, self.close)
            self._drop()
            self._sender.resume()

    # For the connection

    def more(self) -> asyncio.Future[None]:
        """Done when something has been added, or the answer has ended. Raises TransportError when it has broken."""
        if self._fault is not None:
            raise self._fault
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        return waiter

    def open(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The head has come."""
        self.status = status
        self._headers = headers
        if coding := headers.get(b"content-encoding"):
            self._decoder = decoder_for(coding.decode("latin-1"))

    @property
    def body_bytes(self) -> int:
        """How much of the body has come."""
        return self._taken + sum(map(len, self.pieces))

    def wake(self) -> None:
        """Let a reader see what has been added."""
        if self._drain is not None and not self._drop():
            self.close()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def end(self, fault: TransportError | None) -> None:
        """Nothing more will come; `fault` says why when it should have."""
        self._sender = None
        self._fault = fault
        if self._drain is not None:
            self._drain.cancel()
        self.wake()

    def _take(self) -> bytes:
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._taken += len(data)
        if self._decoder is not None:
            data = self._decode(self._decoder, data)
            if self._decoder.held:
                return data
        self.buffered = 0
        if self._sender is not None:
            self._sender.resume()
        return data

    def _decode(self, decoder: Decoder, data: bytes) -> bytes:
        try:
            return decoder.decode(data)
        except BadCoding as fault:
            raise self._broken(fault) from fault

    def _finish(self) -> None:
        try:
            if self._decoder is not None:
                self._decoder.finish()
        except BadCoding as fault:
            raise self._broken(fault) from fault

    def _broken(self, fault: BadCoding) -> TransportError:
        self.close()
        self._decoder = None
        self._fault = TransportError(str(fault))
        return self._fault

    def _drop(self) -> bool:
        """Forget what has come; whether it is little enough to go on with."""
        self._drained += self.buffered
        self.pieces.clear()
        self.buffered = 0
        return self._drained <= _DRAIN_BYTES
