"""Takes one dependency of a cluster away under load, gives it back, and judges what callers saw of it."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import httpx2

from headgate_credentials import generate
from headgate_testing.proxy import Proxy
from headgate_testing.scene import Scene, bound, count
from headgate_testing.traffic import Answer, failed, percentile_ms, summary

KINDS = ("killed", "stopped", "black-holed")

DISCOVERY_S = 2.0
"""How long calls may still find out that somebody is away."""

WRONG = {401, 403, 404, 429}
"""What trouble of a dependency must never be shown as."""


class Endable(Protocol):
    """A process that can be taken away: ours, or a server of the test's own."""

    def start(self) -> None:
        """Start it and wait until it answers."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """SIGSTOP."""

    def resume(self) -> None:
        """SIGCONT."""


@dataclass
class Outage:
    """A dependency, and the proxy that stands before it."""

    process: Endable
    proxy: Proxy

    async def begin(self, how: str) -> None:
        """Take it away, in one of KINDS."""
        if how == "killed":
            self.proxy.refuse()
            await asyncio.to_thread(self.process.kill)
        elif how == "stopped":
            self.process.pause()
        else:
            self.proxy.swallow()

    async def end(self, how: str) -> None:
        """Give it back."""
        if how == "killed":
            await asyncio.to_thread(self.process.start)
        elif how == "stopped":
            self.process.resume()
        await self.proxy.heal()


@dataclass(frozen=True)
class Judged:
    """What became of the calls of known keys `before`, at first (`finding_out`) and later (`away`) during the outage,
    and `after` it; of a call with an unknown key while it lasted; of the bill; and how long (s) it took until all
    worked again."""

    before: list[Answer]
    finding_out: list[Answer]
    away: list[Answer]
    after: list[Answer]
    unknown: httpx2.Response
    faults: list[str]
    normal_s: float

    @property
    def lost(self) -> int:
        """Calls of known keys that failed, at any time."""
        return len(failed(self.answers))

    @property
    def answers(self) -> list[Answer]:
        """All of them."""
        return [*self.before, *self.finding_out, *self.away, *self.after]

    @property
    def penalties_ms(self) -> tuple[float, float]:
        """What the p99 is above that of the calls before: while it is found out, and later."""
        before = percentile_ms(self.before, 0.99)
        return percentile_ms(self.finding_out, 0.99) - before, percentile_ms(self.away, 0.99) - before

    def __str__(self) -> str:
        finding_out, later = self.penalties_ms
        times = " ".join(
            f"{name} {percentile_ms(answers, 0.5):.0f}/{percentile_ms(answers, 0.99):.0f}"
            for name, answers in (
                ("before", self.before),
                ("finding out", self.finding_out),
                ("away", self.away),
                ("after", self.after),
            )
        )
        return (
            f"{len(self.answers)} calls, {summary(self.answers)}; p50/p99 in ms: {times}; penalty "
            f"{finding_out:+.0f}, then {later:+.0f} ms; an unknown key got "
            f"{self.unknown.status_code}; {len(self.faults)} faults in the bill; normal after {self.normal_s:.1f} s"
        )

    def complaints(self, unknown: int) -> list[str]:
        """What breaks R20 and R21, in words, but for time; `unknown` is the status that an unknown key is due."""
        found = list(self.faults)
        if self.lost > len(self.answers) * 1e-4:
            found.append(f"{self.lost} of {len(self.answers)} calls of known keys failed")
        if wrong := [answer for answer in self.answers if answer.status in WRONG]:
            found.append(f"{len(wrong)} got a wrong `no`: {summary(wrong)}")
        if self.unknown.status_code != unknown:
            found.append(f"an unknown key got {self.unknown.status_code}, not {unknown}")
        if self.unknown.status_code == 503 and "retry-after" not in self.unknown.headers:
            found.append("a 503 does not say when to try again")
        return found

    @property
    def in_time(self) -> bool:
        """Whether calls took no longer than R20 allows."""
        finding_out, later = self.penalties_ms
        return finding_out <= bound(100) and later <= bound(5)


async def judged_outage(found: Scene, outage: Outage, how: str, calls: int) -> Judged:
    """An outage that lasts for so many calls of known keys, with a quarter as many before it, and after it."""
    traffic = found.traffic(rate=count(150, 200))
    async with traffic.flowing():
        await traffic.until(calls // 4)
        began = time.monotonic()
        await outage.begin(how)
        answer = await ask(found, unknown_key())
        await traffic.until(calls // 4 + calls)
        ended = time.monotonic()
        await outage.end(how)
        await traffic.until(calls // 2 + calls)
    normal_s = await found.back_to_normal()
    faults = await found.unbilled([answer.received for answer in traffic.answers])

    def between(first: float, last: float) -> list[Answer]:
        return [answer for answer in traffic.answers if first <= answer.began < last]

    return Judged(
        before=between(0, began),
        finding_out=between(began, began + DISCOVERY_S),
        away=between(began + DISCOVERY_S, ended),
        after=between(ended, float("inf")),
        unknown=answer,
        faults=faults,
        normal_s=normal_s,
    )


def unknown_key() -> str:
    """A well-formed key that nobody ever made."""
    return generate().text.reveal()


async def ask(found: Scene, key: str) -> httpx2.Response:
    """One call with a key."""
    body = {"model": "fast", "messages": [{"role": "user", "content": "Hello!"}]}
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(timeout=30) as http:
        return await http.post(f"{found.cluster.url}/v1/chat/completions", json=body, headers=headers)


async def until_alive(http: httpx2.AsyncClient, ops: str, patience_s: float = 20) -> None:
    """Wait until the process whose operators' listener is at `ops` says that it lives, ready or not. Raises
    TimeoutError."""
    async with asyncio.timeout(patience_s):
        while True:
            with suppress(httpx2.TransportError):
                if (await http.get(f"{ops}/healthz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
