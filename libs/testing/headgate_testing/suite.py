"""A whole suite on loopback: the real command in a process of its own, on ports of its own."""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headgate_settings import environment

READY_S = 60
LINE = re.compile(r"\s*(REST|gRPC|metrics)\s+(?:http://)?(127\.0\.0\.1:\d+)")


@dataclass
class Suite:
    """A running `headgate up`. `log` is its standard error: JSON lines."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    addresses: dict[str, str]
    banner: str
    ready_s: float
    log: Path

    @property
    def url(self) -> str:
        """Base of the REST API, without a version path."""
        return f"http://{self.addresses['REST']}"

    @property
    def grpc(self) -> str:
        """`host:port` of all gRPC services."""
        return self.addresses["gRPC"]

    @property
    def ops(self) -> str:
        """Base URL of the operators' listener."""
        return f"http://{self.addresses['metrics']}"

    @property
    def key(self) -> str:
        """The bootstrap key."""
        return (self.folder / "data" / "bootstrap-key").read_text().strip()

    def kill(self) -> None:
        """End it as a power-minded operator would: SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 30) -> int:
        """End it gently; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@dataclass
class SuiteSpec:
    """How to start one: `config` is the text of headgate.yaml; `variables` come on top of a clean environment;
    `command` is what Python runs (a test may start a broken variant on purpose)."""

    folder: Path
    config: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("-m", "headgate_suite", "up")

    def start(self) -> Suite:
        """Start it and wait until it is ready. Raises RuntimeError with its output when it is not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "headgate.yaml").write_text(self.config)
        log = self.folder / "suite.log"
        began = time.monotonic()
        with log.open("ab") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, *self.command],
                cwd=self.folder,
                env={**_clean_environment(), **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        banner = _read_banner(process)
        if "ready" not in banner:
            process.kill()
            process.wait()
            raise RuntimeError(f"the suite did not start:\n{banner}\n{log.read_text()[-4000:]}")
        addresses = {m[1]: m[2] for m in map(LINE.match, banner.splitlines()) if m}
        return Suite(process, self.folder, addresses, banner, time.monotonic() - began, log)

    def _environment(self) -> dict[str, str]:
        return {
            "HEADGATE_HTTP": "127.0.0.1:0",
            "HEADGATE_GRPC": "127.0.0.1:0",
            "HEADGATE_OPS": "127.0.0.1:0",
            "HEADGATE_DATA": str(self.folder / "data"),
            "HEADGATE_CONFIG": str(self.folder / "headgate.yaml"),
            "HEADGATE_DISCOVERY": "off",
            "HEADGATE_GRACE": "5s",
            **self.variables,
        }


@contextmanager
def running_suite(spec: SuiteSpec) -> Iterator[Suite]:
    """A suite for the length of a block; what is left of it at the end is killed."""
    suite = spec.start()
    try:
        yield suite
    finally:
        if suite.process.poll() is None:
            try:
                suite.stop()
            except subprocess.TimeoutExpired:
                suite.kill()
        if suite.process.stdout is not None:
            suite.process.stdout.close()


def _clean_environment() -> dict[str, str]:
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"}
    return {name: value for name, value in environment().items() if name in kept}


def _read_banner(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    text = b""
    deadline = time.monotonic() + READY_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"\n\n" not in text and selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            text += piece
    return text.decode()
