"""Steady calls of known keys over kept connections, each answer noted: light enough that the suite, not the client,
fills a small machine. For judging what callers notice of a fault."""

import asyncio
import json
import math
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from headgate_testing.bill import Received
from headgate_testing.load import MESSAGES, pieces_of
from headgate_testing.raw_http import RawConnection, http_request

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call. `status` is 0 when the connection was lost before a reply; `code` is the reply's
    error code; `began` is `time.monotonic()`, `seconds` the time until the end of the reply."""

    request_id: str
    began: float
    seconds: float
    streamed: bool
    status: int
    completed: bool
    pieces: int = 0
    code: str = ""

    @property
    def received(self) -> Received:
        """For the judge of bills: what was refused needs no row."""
        return Received(self.request_id, self.status == 200, self.completed, self.pieces)


@dataclass(slots=True)
class Caller:
    """Makes one call after another on one connection, which is opened again when it was lost. Never raises for
    what the suite does."""

    port: int
    key: str
    patience_s: float = PATIENCE_S
    _connection: RawConnection | None = None

    async def call(self, model: str, *, stream: bool = False) -> Answer:
        """One chat."""
        request_id = uuid.uuid4().hex
        began = time.monotonic()
        noted = _Noted()
        try:
            await self._call(model, stream, request_id, noted)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            await self.close()
        seconds = time.monotonic() - began
        return Answer(
            request_id, began, seconds, stream, noted.status, noted.completed, noted.pieces, noted.code
        )

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _call(self, model: str, stream: bool, request_id: str, noted: "_Noted") -> None:
        connection = await self._connected()
        body = json.dumps({"model": model, "messages": MESSAGES, "stream": stream}).encode()
        headers = {"X-Request-Id": request_id}
        await connection.send(
            http_request("POST", "/v1/chat/completions", body, key=self.key, headers=headers)
        )
        status, reply_headers = await connection.head()
        noted.status = status
        if reply_headers.get("transfer-encoding") == "chunked":
            async for chunk in connection:
                noted.take_events(chunk)
        else:
            noted.take_whole(await connection.body(reply_headers))

    async def _connected(self) -> RawConnection:
        if self._connection is None or self._connection.lost:
            await self.close()
            self._connection = await RawConnection.open(self.port, self.patience_s)
        return self._connection


@dataclass(slots=True)
class _Noted:
    status: int = 0
    completed: bool = False
    pieces: int = 0
    code: str = ""

    def take_events(self, chunk: bytes) -> None:
        for line in chunk.split(b"\n"):
            if line == b"data: [DONE]":
                self.completed = True
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                self.pieces += pieces_of(event)
                self.code = event.get("error", {}).get("code") or self.code

    def take_whole(self, body: bytes) -> None:
        reply = json.loads(body)
        if self.status == 200:
            self.pieces = reply["usage"]["completion_tokens"]
            self.completed = True
        else:
            self.code = reply["error"]["code"]


@dataclass
class Traffic:
    """`callers` that make `rate` calls a second together, each with one of `keys`; a share `streams` of them
    streamed, from `stream_model`."""

    port: int
    keys: Sequence[str]
    rate: float = 150.0
    callers: int = 24
    model: str = "fast"
    stream_model: str = "slow"
    streams: float = 0.2
    seed: int = 0
    answers: list[Answer] = field(default_factory=list)
    running: int = 0
    _done: bool = False

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator["Traffic"]:
        """Calls are made for the length of the block; those still running at its end are waited for."""
        self._done = False
        rng = random.Random(self.seed)
        tasks = [
            asyncio.create_task(self._work(Caller(self.port, self.keys[n % len(self.keys)]), rng))
            for n in range(self.callers)
        ]
        try:
            yield self
        finally:
            self._done = True
            await asyncio.gather(*tasks)

    async def until(self, count: int) -> None:
        """Return when so many calls have been answered in all."""
        while len(self.answers) < count:  # noqa: ASYNC110 - a count, not an event
            await asyncio.sleep(0.02)

    async def _work(self, caller: Caller, rng: random.Random) -> None:
        pause_s = self.callers / self.rate
        await asyncio.sleep(rng.random() * pause_s)
        while not self._done:
            began = time.monotonic()
            self.running += 1
            stream = rng.random() < self.streams
            answer = await caller.call(self.stream_model if stream else self.model, stream=stream)
            self.running -= 1
            self.answers.append(answer)
            await asyncio.sleep(max(0.0, began + pause_s * rng.uniform(0.5, 1.5) - time.monotonic()))
        await caller.close()


def failed(answers: Sequence[Answer]) -> list[Answer]:
    """Those that did not get their whole reply."""
    return [answer for answer in answers if not answer.completed]


def summary(answers: Sequence[Answer]) -> str:
    """How many answers by status and code, those that failed."""
    kinds = Counter(f"{answer.status} {answer.code}".strip() for answer in failed(answers))
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common()) or "none failed"


def percentile_ms(answers: Sequence[Answer], share: float) -> float:
    """The time in ms that a share of the whole (not streamed) answers stayed within; NaN for none."""
    times = sorted(a.seconds for a in answers if a.completed and not a.streamed)
    return times[min(len(times) - 1, math.floor(len(times) * share))] * 1000 if times else math.nan
