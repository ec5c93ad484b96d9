"""A scripted model provider: a real HTTP server on loopback that speaks OpenAI style, misbehaves as told, and
remembers every request, what it emitted for it, and when the caller went away."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self, cast

from headgate_testing.provider_script import (
    Json,
    Script,
    embeddings_reply,
    error,
    stream_pieces,
    whole_reply,
)

__all__ = ["ProviderRequest", "Script", "ScriptedProvider", "error"]


class ProviderRequest:
    """One request as the provider saw it.

    `emitted` counts content pieces handed to the socket. `gone` is set when the connection was lost before the
    answer was complete, at `gone_at` (`time.monotonic()` seconds); `finished` when the answer was written.
    """

    def __init__(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.json = cast(Json, json.loads(body)) if body else {}
        self.received_at = time.monotonic()
        self.emitted = 0
        self.gone = asyncio.Event()
        self.gone_at = 0.0
        self.finished = asyncio.Event()

    @property
    def model(self) -> str:
        """The upstream id asked for."""
        return str(self.json.get("model", ""))


class ScriptedProvider:
    """The server; an async context manager. A request's script is the oldest one queued with `next`, else the
    one set for its model with `on`, else `default`."""

    def __init__(self, default: Script | None = None) -> None:
        self.default = default or Script()
        self.requests: list[ProviderRequest] = []
        self.connections = 0
        self._by_model: dict[str, Script] = {}
        self._queue: deque[Script] = deque()
        self._arrived = asyncio.Condition()
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    def on(self, model: str, script: Script) -> None:
        """Answer requests for `model` by `script` from now on."""
        self._by_model[model] = script

    def next(self, *scripts: Script) -> None:
        """Answer the next requests by these scripts, one each."""
        self._queue.extend(scripts)

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return int(self._listening().sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        """What a provider's `base_url` setting would hold."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def request(self, place: int) -> ProviderRequest:
        """The request at `place` (from 0), waiting until it has come."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) > place)
        return self.requests[place]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening().close()
        tasks = [task for connection in self._open if (task := connection.task) is not None]
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _listening(self) -> asyncio.Server:
        if self._server is None:
            raise RuntimeError("the provider is not started: use it with `async with`")
        return self._server

    @property
    def open_connections(self) -> int:
        """Connections that stand now."""
        return len(self._open)

    def opened(self, connection: "_Connection") -> None:
        """For connections: one more."""
        self._open.add(connection)
        self.connections += 1

    def closed(self, connection: "_Connection") -> None:
        """For connections: one less."""
        self._open.discard(connection)

    async def script_for(self, request: ProviderRequest) -> Script:
        """For connections: remember the request and choose its script."""
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        if self._queue:
            return self._queue.popleft()
        return self._by_model.get(request.model, self.default)


class _Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time, as clients without pipelining send them."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider
        self._buffer = b""
        self._request: ProviderRequest | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._provider.opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._request is None and (request := self._take()) is not None:
            self._request = request
            self.task = asyncio.get_running_loop().create_task(self._serve(request))

    def connection_lost(self, exc: Exception | None) -> None:
        self._provider.closed(self)
        self._writable.set()
        if self._request is not None and not self._request.finished.is_set():
            self._request.gone_at = time.monotonic()
            self._request.gone.set()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        """Reset the connection."""
        self._transport.abort()

    def _take(self) -> ProviderRequest | None:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        method, path, _ = first.split(" ")
        return ProviderRequest(method, path, headers, rest[:length])

    async def _serve(self, request: ProviderRequest) -> None:
        script = await self._provider.script_for(request)
        if script.drop:
            await self._cut(script)
        if script.hang:
            await _hang(script)
        if script.body is None and script.status == 200 and request.json.get("stream"):
            await self._stream(request, script)
        else:
            await self._whole(request, script)
        request.finished.set()
        self._request = None
        self.data_received(b"")

    async def _whole(self, request: ProviderRequest, script: Script) -> None:
        body = self._body(request, script)
        headers = {
            "content-type": script.content_type or "application/json",
            "content-length": str(len(body)),
        }
        self._transport.write(_head(script, headers))
        if script.cut_after is not None:
            await self._write(body[: script.cut_after], script)
            return await self._cut(script)
        request.emitted += len(script.tokens) if script.body is None else 0
        return await self._write(body, script)

    def _body(self, request: ProviderRequest, script: Script) -> bytes:
        if script.body is not None:
            return script.body
        if request.path.endswith("/embeddings"):
            return embeddings_reply(script, request.json)
        return whole_reply(script, request.json)

    async def _stream(self, request: ProviderRequest, script: Script) -> None:
        headers = {"content-type": script.content_type or "text/event-stream", "transfer-encoding": "chunked"}
        self._transport.write(_head(script, headers))
        await self._stop_at(0, script)
        for piece, content in stream_pieces(script, request.json):
            request.emitted += content
            await self._write_chunk(piece, script)
            if content:
                await self._stop_at(request.emitted, script)
                await asyncio.sleep(script.pause)
        self._transport.write(b"0\r\n\r\n")

    async def _stop_at(self, emitted: int, script: Script) -> None:
        if script.cut_after == emitted:
            await self._cut(script)
        if script.hang_after == emitted:
            await _hang(script)

    async def _write_chunk(self, piece: bytes, script: Script) -> None:
        for start in range(0, len(piece), script.split or len(piece)):
            part = piece[start : start + (script.split or len(piece))]
            await self._write(b"%x\r\n%b\r\n" % (len(part), part), script, split=False)

    async def _write(self, data: bytes, script: Script, *, split: bool = True) -> None:
        step = script.split if split and script.split else max(len(data), 1)
        for start in range(0, len(data), step):
            await self._writable.wait()
            self._transport.write(data[start : start + step])
            if script.split:
                await asyncio.sleep(0)

    async def _cut(self, script: Script) -> None:
        """End the connection in the middle of an answer; `gone` is not set, since it was ours to do."""
        if self._request is not None:
            self._request.finished.set()
        if script.cut == "reset":
            await asyncio.sleep(0.001)  # what was written leaves first; a reset discards what is still queued
            self._transport.abort()
        else:
            self._transport.close()
        await asyncio.get_running_loop().create_future()


async def _hang(script: Script) -> None:
    await (script.resume.wait() if script.resume else asyncio.get_running_loop().create_future())


def _head(script: Script, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {script.status} Scripted"]
    lines += [f"{name}: {value}" for name, value in {**headers, **script.headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
