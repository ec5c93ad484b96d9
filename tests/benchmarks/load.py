"""The load, on the core beside the suite's: wrk for whole calls, loadgen.c for fixed rates and streams. All give the
CPU time of the processes that serve, per request or token in microseconds."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rig import HERE, LOAD_CORE, Subject

MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Say one short sentence about a fox."},
]
CHATS = "/v1/chat/completions"
ON_CORE = ("taskset", "-c", LOAD_CORE)

Result = dict[str, float]


def chat(model: str, *, stream: bool = False) -> str:
    """The body of a request."""
    body: dict[str, object] = {"model": model, "messages": MESSAGES}
    if stream:
        body["stream"] = True
    return json.dumps(body, separators=(",", ":"))


def saturated(subject: Subject, seconds: int) -> Result:
    """Whole chats over 32 connections, as fast as it goes."""
    headers = f"Authorization: Bearer {subject.key}"
    environment = {**os.environ, "BENCH_BODY": chat("mock"), "BENCH_PATH": CHATS, "BENCH_HEADERS": headers}
    script = str(HERE / "post.lua")
    argv = [*ON_CORE, "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", script, subject.url]
    before = subject.cpu_seconds()
    out = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout
    after = subject.cpu_seconds()
    result = next(line for line in out.splitlines() if line.startswith("RESULT"))
    count, microseconds, bad, errors = (int(number) for number in result.split()[1:5])
    if bad or errors:
        sys.exit(f"{bad} bad answers, {errors} errors:\n{out}")
    used = {name: (after[name] - before[name]) / count * 1e6 for name in after}
    busy = sum(used[name] for name in subject.busy)
    return {"cpu_us": busy, "all_cpu_us": sum(used.values()), "per_s": count / microseconds * 1e6, **used}


def at_rate(folder: Path, subject: Subject, seconds: int) -> Result:
    """50 whole chats a second; latencies in milliseconds from when each was due."""
    arguments = f"rate -r 50 -t {seconds} -c 64 -w 1".split()
    return _loadgen(folder, subject, chat("mock"), arguments)


def streams(
    folder: Path,
    subject: Subject,
    model: str,
    count: int,
    seconds: int,
    *,
    ramp: int = 0,
    warm: int = 1,
    watch: Callable[[], None] | None = None,
) -> Result:
    """`count` streams held for `seconds`, their starts spread over `ramp`; first tokens count after `warm` seconds.
    `watch` is called every 20 seconds meanwhile."""
    before = subject.cpu_seconds()
    arguments = f"stream -c {count} -t {seconds} -w {warm} -R {ramp}".split()
    result = _loadgen(folder, subject, chat(model, stream=True), arguments, watch)
    after = subject.cpu_seconds()
    busy = sum(after[name] - before[name] for name in subject.busy)
    return {**result, "cpu_us": busy / result["tokens"] * 1e6 if result["tokens"] else 0.0}


def _loadgen(
    folder: Path, subject: Subject, body: str, arguments: list[str], watch: Callable[[], None] | None = None
) -> Result:
    target = ["-u", subject.url, "-k", subject.key, "-b", body]
    argv = [*ON_CORE, str(folder / "loadgen"), arguments[0], *target, *arguments[1:]]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        looked = time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            if watch is not None and time.monotonic() - looked > 20:
                watch()
                looked = time.monotonic()
        assert process.stdout is not None
        result: Result = json.loads(process.stdout.read())
    return result
