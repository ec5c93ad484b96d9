"""What is measured, and what it stands between: the suite in one process or apart on one core; the mock provider,
the trace collector, nginx and the load generators on the other or beside it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADGATE = HERE.parents[1] / ".venv/bin/headgate"
SUITE_CORE, LOAD_CORE = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")
SERVICES = ("inference", "auth", "registry", "routing", "metering")
# Places after the first port: the provider, gRPC, the collector, nginx, the services apart, and ops for all.
PROVIDER, GRPC, COLLECTOR, NGINX, APART, OPS = 1, 2, 4, 5, 10, 20
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
NGINX_CONFIG = """
worker_processes 1; daemon off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream mock {{ server 127.0.0.1:{provider}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Subject:
    """Something that is measured. `pids` by name; those of `busy` serve requests, the others stand by."""

    url: str
    key: str
    pids: Mapping[str, int]
    busy: tuple[str, ...]
    ready_s: float = 0.0
    ops_ports: tuple[int, ...] = ()

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each process since its start."""
        return {name: _cpu_seconds(pid) for name, pid in self.pids.items()}

    def rss_mb(self) -> float:
        """Resident memory of all processes; what they share counts in each."""
        return sum(_rss_mb(pid) for pid in self.pids.values())

    def longest_pause_ms(self) -> float:
        """The longest pause of an event loop in the last one to two minutes, as the processes tell it."""
        return max(_pause_s(port) for port in self.ops_ports) * 1000


def need(*programs: str) -> None:
    """End with a message when a program is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install gcc wrk util-linux)")


def build(folder: Path) -> None:
    """Compile the mock provider and the load generator into a folder."""
    for name in ("upstream", "loadgen"):
        subprocess.run(["cc", "-O2", "-w", "-o", folder / name, HERE / f"{name}.c"], check=True)


@contextmanager
def surroundings(folder: Path, port: int) -> Iterator[None]:
    """The mock provider and the trace collector, on the load's core."""
    load = ["taskset", "-c", LOAD_CORE]
    with (
        _child([*load, str(folder / "upstream"), "-p", str(port + PROVIDER)]),
        _child([*load, sys.executable, str(HERE / "collector.py"), str(port + COLLECTOR)]),
    ):
        yield


@contextmanager
def suite(folder: Path, port: int, *, apart: bool) -> Iterator[Subject]:
    """The suite with a data folder of its own, ready, with a key that has limits it will not reach."""
    folder.mkdir()
    config = folder / "headgate.yaml"
    config.write_text(CONFIG.format(port=port + PROVIDER))
    bootstrap = subprocess.run(
        [HEADGATE, "keys", "generate"], check=True, capture_output=True, text=True
    ).stdout.strip()
    url = f"http://127.0.0.1:{port}"
    argv = ["taskset", "-c", SUITE_CORE, str(HEADGATE), "up", *(["--processes"] if apart else [])]
    with (folder / "suite.log").open("wb") as log:
        started = time.monotonic()
        environment = _environment(folder, port, apart=apart) | {"HEADGATE_BOOTSTRAP_KEY": bootstrap}
        with _child(argv, env=environment, stdout=log, stderr=log, cwd=folder) as process:
            # The gateway answers before the others do; all are there when the first call is printed.
            _wait(lambda: b"First call:" in (folder / "suite.log").read_bytes(), process)
            ready = time.monotonic() - started
            key = _first_key(url, bootstrap)
            pids = _children(process.pid) if apart else {"suite": process.pid}
            ops = range(port + OPS, port + OPS + (1 + len(SERVICES) if apart else 1))
            busy = ("gateway", "inference") if apart else ("suite",)
            yield Subject(url, key, pids, busy, ready, tuple(ops))


@contextmanager
def nginx(folder: Path, port: int) -> Iterator[Subject]:
    """A plain reverse proxy before the same provider: what this machine can do at best."""
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(provider=port + PROVIDER, port=port + NGINX))
    argv = ["taskset", "-c", SUITE_CORE, "nginx", "-p", str(folder), "-c", str(config)]
    with _child(argv, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port + NGINX}"
        _wait(lambda: _answers(f"{url}/v1/models"), process)
        worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        yield Subject(url, "none", {"nginx": worker}, ("nginx",))


def _environment(folder: Path, port: int, *, apart: bool) -> dict[str, str]:
    foreign = {k: v for k, v in os.environ.items() if k[:9] != "HEADGATE_" and k[-8:] != "_API_KEY"}
    own = {
        "HEADGATE_HTTP": f"127.0.0.1:{port}",
        "HEADGATE_OPS": f"127.0.0.1:{port + OPS}",
        "HEADGATE_DATA": str(folder / "data"),
        "HEADGATE_CONFIG": str(folder / "headgate.yaml"),
        "HEADGATE_DISCOVERY": "off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port + COLLECTOR}",
    }
    if not apart:
        return foreign | own | {"HEADGATE_GRPC": f"127.0.0.1:{port + GRPC}"}
    listens = {
        f"HEADGATE_{name.upper()}_LISTEN": f"127.0.0.1:{port + APART + number}"
        for number, name in enumerate(SERVICES)
    }
    return foreign | own | listens


def _first_key(url: str, bootstrap: str) -> str:
    """A key with the limits of the bench."""
    wanted = {"name": "bench", "scopes": ["inference"], "plan_policy": "bench"}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bootstrap}"}
    request = urllib.request.Request(f"{url}/v1/keys", json.dumps(wanted).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return str(json.load(reply)["key"])


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        if time.monotonic() > deadline or process.poll() is not None:
            sys.exit("what is to be measured did not start")
        time.sleep(0.01)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def _child(argv: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
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


def _children(parent: int) -> dict[str, int]:
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {Path(f"/proc/{pid}/cmdline").read_text().split("\0")[-2]: int(pid) for pid in pids}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _pause_s(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return float(
        next(line for line in lines if line.startswith("headgate_event_loop_pause_seconds")).split()[1]
    )
