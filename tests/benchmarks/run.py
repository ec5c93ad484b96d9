"""How fast the suite is with everything on: `make bench`, or `python tests/benchmarks/run.py --help`.

One core for the suite, the other for the mock provider, the load and the trace collector. Everything on means:
the key checked, request and token limits leased, journal and ledger written, every call traced and exported, one
log line a request and one an attempt, metrics. CPU figures are user + system time of the processes that serve
(gateway and inference where they are apart; `all` counts the others too) divided by requests or tokens. Figures of
one machine drift by a third within hours: compare runs made in alternation. nginx, where it is installed, takes its
turn in each round as a plain proxy before the same provider; `times nginx` is the quotient.
"""

import argparse
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from load import Result, at_rate, saturated, streams
from rig import PROVIDER, Subject, build, need, nginx, suite, surroundings

HELD_STEPS = (100, 200, 400, 600, 800, 1000, 1250, 1500, 1750, 2000)


def median(rows: list[Result], name: str) -> float:
    """The middle of a figure."""
    return float(statistics.median(row[name] for row in rows))


def rounds(folder: Path, subject: Subject, proxy: Subject | None, runs: int, seconds: int) -> Result:
    """Each measurement `runs` times, in turns with the same one without the suite."""
    whole, direct, through, fast, paced, plain = (list[Result]() for _ in range(6))
    provider = Subject(f"http://127.0.0.1:{_port(subject) + PROVIDER}", subject.key, {}, ())
    saturated(subject, 3)  # warm up
    for _ in range(runs):
        whole.append(saturated(subject, seconds))
        if proxy is not None:
            plain.append(saturated(proxy, seconds))
        direct.append(at_rate(folder, provider, seconds))
        through.append(at_rate(folder, subject, seconds))
        fast.append(streams(folder, subject, "mock-200-0", 8, seconds))
        paced.append(streams(folder, subject, "mock-200-50", 50, seconds + 3, ramp=3))
    found = {
        "CPU of a whole chat, us": median(whole, "cpu_us"),
        "whole chats a second": median(whole, "per_s"),
        "added latency p50, ms": median(through, "p50") - median(direct, "p50"),
        "added latency p99, ms": median(through, "p99") - median(direct, "p99"),
        "CPU of a token at full speed, us": median(fast, "cpu_us"),
        "CPU of a token at 20 a second, us": median(paced, "cpu_us"),
        "first token p50, ms": median(paced, "ttft_p50"),
    }
    if len(subject.pids) > 1:
        found |= {f"  of it {name}, us": median(whole, name) for name in subject.busy}
        found["  all processes, us"] = median(whole, "all_cpu_us")
    if proxy is not None:
        cost = median(plain, "cpu_us")
        found |= {"CPU of nginx, us": cost, "times nginx": median(whole, "cpu_us") / cost}
    return found


def held(folder: Path, subject: Subject) -> float:
    """The most streams of 20 tokens a second, of HELD_STEPS, with the p99 of first tokens within 100 ms, no error,
    and 95 % of the tokens; two tries."""
    best = 0
    for count in HELD_STEPS:
        for _ in range(2):
            result = streams(folder, subject, "mock-200-50", count, 20, ramp=8, warm=9)
            enough = result["tokens_per_s"] >= 0.95 * 20 * count
            if not result["errors"] and result["ttft_p99"] <= 100 and enough:
                best = count
                break
        else:
            break
    return best


def paused(folder: Path, subject: Subject, seconds: int) -> Result:
    """200 streams of 20 tokens a second for so long: the longest pause of a loop that they saw, and memory."""
    pauses: list[float] = []
    memory: list[float] = []

    def look() -> None:
        pauses.append(subject.longest_pause_ms())
        memory.append(subject.rss_mb())

    streams(folder, subject, "mock-200-50", 200, seconds, ramp=8, watch=look)
    look()
    return {"longest pause at 200 streams, ms": max(pauses), "memory at 200 streams, MB": max(memory)}


def _port(subject: Subject) -> int:
    return int(subject.url.rpartition(":")[2])


def measure(folder: Path, port: int, arguments: argparse.Namespace, *, apart: bool) -> Result:
    """All figures of the suite in one shape."""
    with ExitStack() as stack:
        name = "apart" if apart else "one"
        subject = stack.enter_context(suite(folder / name, port, apart=apart))
        proxy = None
        if shutil.which("nginx"):
            proxy = stack.enter_context(nginx(folder / f"nginx-{name}", port))
        figures = {"ready after, s": subject.ready_s, "memory idle, MB": subject.rss_mb()}
        figures |= rounds(folder, subject, proxy, arguments.runs, arguments.seconds)
        if arguments.hold:
            figures |= paused(folder, subject, arguments.hold)
            figures["streams held"] = held(folder, subject)
        return figures


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="repetitions; the median is shown")
    parser.add_argument("--seconds", type=int, default=6, help="length of each measurement")
    parser.add_argument("--hold", type=int, default=60, help="seconds of 200 held streams; 0: none are held")
    parser.add_argument(
        "--shape", choices=("one", "apart", "both"), default="both", help="how the suite runs"
    )
    parser.add_argument("--port", type=int, default=18080, help="first of 30 ports on 127.0.0.1")
    arguments = parser.parse_args()
    need("cc", "wrk", "taskset")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        with surroundings(folder, arguments.port):
            for shape, title in (("one", "one process"), ("apart", "a process for each service")):
                if arguments.shape in {shape, "both"}:
                    print(f"{title}:", flush=True)
                    for figure, value in measure(
                        folder, arguments.port, arguments, apart=shape == "apart"
                    ).items():
                        print(f"  {figure:36} {value:10,.2f}", flush=True)


if __name__ == "__main__":
    main()
