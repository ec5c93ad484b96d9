"""How fast the suite is with everything on: `make bench`, or `python tests/benchmarks/run.py --help`.

One core for the suite, the other for the mock provider, the load and the trace collector. Everything on means:
the key checked, request and token limits leased, journal and ledger written, every call traced and exported, one
log line a request and one an attempt, metrics. CPU figures are user + system time of the suite's process divided
by requests (or tokens). Figures of one machine drift by a third within hours: compare runs made in alternation.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
SUITE_CORE, LOAD_CORE = "0", "1"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Say one short sentence about a fox."},
]
CONFIG = """
providers:
  - {{name: upstream, type: openai, base_url: "http://127.0.0.1:{port}/v1"}}
models:
  - {{id: mock, provider: upstream, price: {{input_per_1m: 0.15, output_per_1m: 0.60}}}}
  - {{id: mock-200-0, provider: upstream, price: {{input_per_1m: 0.15, output_per_1m: 0.60}}}}
  - {{id: mock-200-50, provider: upstream, price: {{input_per_1m: 0.15, output_per_1m: 0.60}}}}
  - {{id: mock-embed, provider: upstream, type: embedding, dimensions: 8}}
policies:
  bench: {{limits: {{default: {{requests_per_minute: 1000000000, tokens_per_minute: 1000000000000}}}}}}
"""


@dataclass(frozen=True)
class Suite:
    """A running suite and how to reach it."""

    pid: int
    url: str
    key: str
    ready_s: float
    rss_mb: float


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install gcc wrk util-linux)")


def build(folder: Path) -> None:
    for name in ("upstream", "loadgen"):
        subprocess.run(["cc", "-O2", "-w", "-o", folder / name, HERE / f"{name}.c"], check=True)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def post(url: str, key: str, body: object) -> dict[str, object]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return dict(json.load(reply))


def wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.01)
    sys.exit("the suite did not become ready")


@contextmanager
def child(argv: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running_suite(folder: Path, port: int) -> Iterator[Suite]:
    config = folder / "headgate.yaml"
    config.write_text(CONFIG.format(port=port + 1))
    bootstrap = subprocess.run(
        [HERE.parents[1] / ".venv/bin/headgate", "keys", "generate"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    environment = {
        **{
            k: v
            for k, v in os.environ.items()
            if not k.startswith("HEADGATE_") and not k.endswith("_API_KEY")
        },
        "HEADGATE_HTTP": f"127.0.0.1:{port}",
        "HEADGATE_GRPC": f"127.0.0.1:{port + 2}",
        "HEADGATE_OPS": f"127.0.0.1:{port + 3}",
        "HEADGATE_DATA": str(folder / "data"),
        "HEADGATE_CONFIG": str(config),
        "HEADGATE_DISCOVERY": "off",
        "HEADGATE_BOOTSTRAP_KEY": bootstrap,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port + 4}",
    }
    url = f"http://127.0.0.1:{port}"
    argv = ["taskset", "-c", SUITE_CORE, str(HERE.parents[1] / ".venv/bin/headgate"), "up"]
    with (folder / "suite.log").open("wb") as log:
        started = time.monotonic()
        with child(argv, env=environment, stdout=log, stderr=log, cwd=folder) as process:
            wait_ready(url, process)
            ready = time.monotonic() - started
            key = post(
                f"{url}/v1/keys",
                bootstrap,
                {"name": "bench", "scopes": ["inference"], "plan_policy": "bench"},
            )
            yield Suite(process.pid, url, str(key["key"]), ready, rss_mb(process.pid))


def chat(model: str, *, stream: bool = False) -> str:
    body: dict[str, object] = {"model": model, "messages": MESSAGES}
    if stream:
        body["stream"] = True
    return json.dumps(body, separators=(",", ":"))


def wrk(suite: Suite, path: str, body: str, seconds: int) -> dict[str, float]:
    headers = f"Authorization: Bearer {suite.key}"
    environment = {**os.environ, "BENCH_BODY": body, "BENCH_PATH": path, "BENCH_HEADERS": headers}
    argv = [
        "taskset",
        "-c",
        LOAD_CORE,
        "wrk",
        "-t1",
        "-c32",
        f"-d{seconds}s",
        "-s",
        str(HERE / "post.lua"),
        suite.url,
    ]
    before = cpu_seconds(suite.pid)
    out = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(suite.pid) - before
    count, microseconds, bad, errors = (
        int(n) for n in next(line for line in out.splitlines() if line.startswith("RESULT")).split()[1:5]
    )
    if bad or errors:
        sys.exit(f"{bad} bad answers, {errors} errors:\n{out}")
    return {"cpu_us": used / count * 1e6, "per_s": count / microseconds * 1e6}


def loadgen(folder: Path, url: str, key: str, *arguments: str) -> dict[str, float]:
    argv = [
        "taskset",
        "-c",
        LOAD_CORE,
        str(folder / "loadgen"),
        arguments[0],
        "-u",
        url,
        "-k",
        key,
        *arguments[1:],
    ]
    result: dict[str, float] = json.loads(
        subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    )
    if result["errors"]:
        sys.exit(f"load generator saw errors: {result}")
    return result


def streams(
    folder: Path, suite: Suite, model: str, count: int, seconds: int, *, ramp: int = 0
) -> dict[str, float]:
    """`ramp` spreads the starts over so many seconds; first tokens count from 1 s on."""
    before = cpu_seconds(suite.pid)
    body = chat(model, stream=True)
    arguments = f"stream -c {count} -t {seconds} -w 1 -R {ramp}".split()
    arguments += ["-b", body]
    result = loadgen(folder, suite.url, suite.key, *arguments)
    result["cpu_us"] = (cpu_seconds(suite.pid) - before) / result["tokens"] * 1e6
    return result


def rate(folder: Path, url: str, key: str, seconds: int) -> dict[str, float]:
    return loadgen(
        folder, url, key, "rate", "-b", chat("mock"), "-r", "50", "-t", str(seconds), "-c", "64", "-w", "1"
    )


def median(rows: list[dict[str, float]], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def measure(folder: Path, suite: Suite, upstream: str, runs: int, seconds: int) -> dict[str, object]:
    wrk(suite, "/v1/chat/completions", chat("mock"), 3)  # warm up
    whole, direct, through, fast, paced = [], [], [], [], []
    for _ in range(runs):
        whole.append(wrk(suite, "/v1/chat/completions", chat("mock"), seconds))
        direct.append(rate(folder, upstream, suite.key, seconds))
        through.append(rate(folder, suite.url, suite.key, seconds))
        fast.append(streams(folder, suite, "mock-200-0", 8, seconds))
        paced.append(streams(folder, suite, "mock-200-50", 50, seconds, ramp=3))
    return {
        "ready_s": round(suite.ready_s, 2),
        "rss_idle_mb": round(suite.rss_mb),
        "rss_after_mb": round(rss_mb(suite.pid)),
        "whole_cpu_us": round(median(whole, "cpu_us"), 1),
        "whole_per_s_one_core": round(median(whole, "per_s")),
        "added_p50_ms": round(median(through, "p50") - median(direct, "p50"), 3),
        "added_p99_ms": round(median(through, "p99") - median(direct, "p99"), 3),
        "token_cpu_us_full_speed": round(median(fast, "cpu_us"), 2),
        "token_cpu_us_20_per_s": round(median(paced, "cpu_us"), 2),
        "first_token_p50_ms": round(median(paced, "ttft_p50"), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="repetitions; the median is shown")
    parser.add_argument("--seconds", type=int, default=6, help="length of each measurement")
    parser.add_argument("--port", type=int, default=18080, help="first of five ports on 127.0.0.1")
    arguments = parser.parse_args()
    need("cc", "wrk", "taskset")
    port = arguments.port
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        load = ["taskset", "-c", LOAD_CORE]
        with (
            child([*load, str(folder / "upstream"), "-p", str(port + 1)]),
            child([*load, sys.executable, str(HERE / "collector.py"), str(port + 4)]),
            running_suite(folder, port) as suite,
        ):
            result = measure(folder, suite, f"http://127.0.0.1:{port + 1}", arguments.runs, arguments.seconds)
    for name, value in result.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
