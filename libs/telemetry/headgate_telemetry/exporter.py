"""Sends encoded spans to a collector by OTLP over gRPC. A collector that is slow or away costs spans, never a
request: the queue is bounded, the oldest batch is dropped and counted."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import grpc
import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

# OTLP specification, "Failures": these may be sent again, and RESOURCE_EXHAUSTED when it comes with RetryInfo;
# without, the batch is too large and would be refused for ever.
_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class Log(Protocol):
    """The part of a logger that is used here."""

    def warning(self, event: str, **fields: object) -> object: ...

    def info(self, event: str, **fields: object) -> object: ...


class SpanExporter:
    """One connection to one collector. `timeout` of an export is in seconds; `on_drop` is told how many spans
    were lost."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        log: Log,
        on_drop: Callable[[int], None],
        metadata: Sequence[tuple[str, str]] = (),
        limit_bytes: int = 8 << 20,
        timeout: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._channel = channel
        self._export: grpc.aio.UnaryUnaryMultiCallable[bytes, ExportTraceServiceResponse]
        self._export = channel.unary_unary(
            EXPORT, response_deserializer=ExportTraceServiceResponse.FromString
        )
        self._log = log
        self._on_drop = on_drop
        self._metadata = tuple(metadata)
        self._limit = limit_bytes
        self._timeout = timeout
        self._sleep = sleep
        self._queue: deque[tuple[bytes, int]] = deque()
        self._size = 0
        self._offered = asyncio.Event()
        self._away = False

    def offer(self, batch: bytes, spans: int) -> None:
        """Queue one serialised ExportTraceServiceRequest; never waits."""
        self._queue.append((batch, spans))
        self._size += len(batch)
        while self._size > self._limit:
            self._on_drop(self._pop()[1])
        self._offered.set()

    async def run(self) -> None:
        """Send what is offered, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._offered.wait()
            self._offered.clear()
            while self._queue:
                if await self._send_oldest():
                    pause = _FIRST_PAUSE
                else:
                    await self._sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)

    async def close(self, timeout: float = 2.0) -> None:
        """Send what is queued, for at most `timeout` seconds, and hang up. `run` must have ended."""
        try:
            async with asyncio.timeout(timeout):
                while self._queue and await self._send_oldest():
                    pass
        except TimeoutError:
            pass
        lost = sum(spans for _, spans in self._queue)
        if lost:
            self._on_drop(lost)
        await self._channel.close()

    async def _send_oldest(self) -> bool:
        """False when the collector is away and the batch waits for another try."""
        batch, spans = self._pop()
        try:
            reply = await self._export(batch, timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            return self._failed(error, batch, spans)
        except asyncio.CancelledError:
            self._put_back(batch, spans)
            raise
        if reply.partial_success.rejected_spans:
            self._on_drop(reply.partial_success.rejected_spans)
        if self._away:
            self._away = False
            self._log.info("the trace collector is back")
        return True

    def _failed(self, error: grpc.aio.AioRpcError, batch: bytes, spans: int) -> bool:
        if not self._away:
            self._away = True
            self._log.warning("the trace collector refuses or is away", status=error.code().name)
        if not _retryable(error):
            self._on_drop(spans)
            return True
        self._put_back(batch, spans)
        return False

    def _put_back(self, batch: bytes, spans: int) -> None:
        if self._size + len(batch) > self._limit:
            self._on_drop(spans)
            return
        self._queue.appendleft((batch, spans))
        self._size += len(batch)

    def _pop(self) -> tuple[bytes, int]:
        batch, spans = self._queue.popleft()
        self._size -= len(batch)
        return batch, spans


def _retryable(error: grpc.aio.AioRpcError) -> bool:
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.code() in _RETRYABLE
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    return isinstance(details, bytes) and _RETRY_INFO in details


def open_channel(endpoint: str) -> grpc.aio.Channel:
    """A channel to `http://host:port`, `https://host:port` or `host:port` (plain). Connects when first used."""
    options = [("grpc.max_reconnect_backoff_ms", 10_000), ("grpc.enable_retries", 0)]
    if "://" not in endpoint:
        return grpc.aio.insecure_channel(endpoint, options=options)
    url = urlsplit(endpoint)
    target = f"{url.hostname}:{url.port or 4317}"
    if url.scheme == "https":
        return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=options)
    return grpc.aio.insecure_channel(target, options=options)


def parse_headers(text: str) -> list[tuple[str, str]]:
    """`name=value,name=value` as gRPC metadata; what has no `=` is left out."""
    pairs = (each.partition("=") for each in text.split(","))
    return [(name.strip().lower(), value.strip()) for name, equals, value in pairs if equals and name.strip()]
