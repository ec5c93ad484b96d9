"""What a request to a provider costs: our own HTTP client beside aiohttp, CPU time of this process for each request.

`python tests/benchmarks/http_client.py [requests]`. The provider is upstream.c on another core, where there is a C
compiler and another core. Both clients run in turn, five times; the median and the spread are printed.
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import uvloop

from headgate_clock import SystemClock
from headgate_inference.adapters.http_client import HttpTransport
from headgate_inference.adapters.transport import ProviderTransport, Target

CONCURRENCY, ROUNDS = 16, 5
HEADERS = {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "Authorization": "Bearer sk-bench",
}
OWN = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-request-id": "bench"}
WHOLE = b'{"model": "mock", "messages": [{"role": "user", "content": "Say one short sentence about a fox."}]}'
STREAMED = WHOLE.replace(b'"mock"', b'"mock-200-0", "stream": true')
Post = Callable[[bytes], Awaitable[int]]


@contextmanager
def upstream() -> Iterator[int]:
    """The mock provider; its port."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("missing: cc (Debian: apt-get install gcc)")
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as reserved:
        program = Path(folder) / "upstream"
        source = Path(__file__).with_name("upstream.c")
        subprocess.run([compiler, "-O2", "-w", "-o", program, source], check=True)
        port = reserved.getsockname()[1]
        reserved.close()
        server = subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL)
        pin(server.pid, last=True)
        try:
            wait_for(port)
            yield port
        finally:
            server.terminate()
            server.wait()


def pin(pid: int, *, last: bool) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[-1 if last else 0]})


def wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
    sys.exit("the mock provider does not listen")


async def cpu_us(post: Post, body: bytes, requests: int) -> float:
    """CPU µs for each request, `CONCURRENCY` at a time."""

    async def caller() -> None:
        for _ in range(requests // CONCURRENCY):
            if await post(body) < 100:
                raise RuntimeError("the provider did not answer")

    await asyncio.gather(*(post(body) for _ in range(CONCURRENCY)))
    begun = time.process_time()
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    return (time.process_time() - begun) / (requests // CONCURRENCY * CONCURRENCY) * 1e6


def own(transport: ProviderTransport, target: Target) -> Post:
    async def post(body: bytes) -> int:
        reply = await transport.post(target, OWN, body)
        size = 0
        while data := await reply.read():
            size += len(data)
        return size

    return post


def other(session: aiohttp.ClientSession, target: Target) -> Post:
    headers = {**HEADERS, **OWN}

    async def post(body: bytes) -> int:
        reply = await session.post(target.url, data=body, headers=headers, allow_redirects=False)
        size = 0
        while data := await reply.content.readany():
            size += len(data)
        return size

    return post


async def compare(port: int, requests: int) -> None:
    target = Target.of(f"http://127.0.0.1:{port}/v1/chat/completions", HEADERS, 3.0)
    transport = HttpTransport(SystemClock())
    skipped = ["User-Agent", "Accept", "Accept-Encoding", "Content-Type"]
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=skipped,
    ) as session:
        clients = {"own": own(transport, target), "aiohttp": other(session, target)}
        for kind, body, count in (
            ("whole reply", WHOLE, requests),
            ("stream of 200 events", STREAMED, requests // 10),
        ):
            figures: dict[str, list[float]] = {name: [] for name in clients}
            for _ in range(ROUNDS):
                for name, post in clients.items():
                    figures[name].append(await cpu_us(post, body, count))
            for name, values in figures.items():
                low, middle, high = min(values), statistics.median(values), max(values)
                print(f"{kind}, {name}: {middle:.1f} µs CPU a request ({low:.1f} to {high:.1f})")
    await transport.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("requests", nargs="?", type=int, default=8000)
    requests = arguments.parse_args().requests
    with upstream() as port:
        pin(0, last=False)
        uvloop.run(compare(port, requests))


if __name__ == "__main__":
    main()
