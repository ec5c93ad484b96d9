"""One process of ours under a test's hand: started, held still, stopped, killed, started again on its address."""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headgate_settings import environment

READY_S = 60
LINE = re.compile(r"\s*(REST|gRPC|metrics)\s+(?:http://)?(127\.0\.0\.1:\d+)")


@dataclass
class Process:
    """What Python is to run, and where. `log` gets its standard error over all its lives; `banner` and `addresses`
    are those of the last one that became ready, `ready_s` the seconds that it took."""

    name: str
    command: tuple[str, ...]
    folder: Path
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    banner: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    ready_s: float = 0.0
    _child: "subprocess.Popen[bytes] | None" = None
    _began: float = 0.0

    @property
    def child(self) -> "subprocess.Popen[bytes]":
        """The child of the last start. Raises RuntimeError before the first one."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    @property
    def alive(self) -> bool:
        """Whether it runs (or is held still)."""
        return self._child is not None and self._child.poll() is None

    def spawn(self) -> None:
        """Start it; does not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._let_go()
        self._began = time.monotonic()
        with self.log.open("ab") as errors:
            self._child = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, *self.command],
                cwd=self.folder,
                env={**clean_environment(), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def wait_ready(self, patience_s: float = READY_S) -> None:
        """Return when its banner is there. Raises RuntimeError with its output when there is none in time."""
        self.banner = _read_banner(self.child, patience_s)
        if "ready" not in self.banner:
            self.kill()
            raise RuntimeError(f"{self.name} did not start:\n{self.banner}\n{self.log.read_text()[-4000:]}")
        self.ready_s = time.monotonic() - self._began
        self.addresses = {m[1]: m[2] for m in map(LINE.match, self.banner.splitlines()) if m}

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.spawn()
        self.wait_ready()

    def kill(self) -> None:
        """SIGKILL, also when it is held still."""
        self.child.kill()
        self.child.wait()

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nothing answers."""
        self.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.child.send_signal(signal.SIGCONT)

    def stop(self, timeout_s: float = 30) -> int:
        """SIGTERM; returns its exit status. Raises subprocess.TimeoutExpired when it does not end in time."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout_s)

    def end(self, timeout_s: float = 30) -> None:
        """Leave nothing of it: gently if it can be, by SIGKILL if not."""
        if self.alive:
            try:
                self.resume()
                self.stop(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._let_go()

    def _let_go(self) -> None:
        if self._child is not None and self._child.stdout is not None:
            self._child.stdout.close()


def clean_environment() -> dict[str, str]:
    """What a child gets of the test's own environment."""
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"}
    return {name: value for name, value in environment().items() if name in kept}


def _read_banner(process: "subprocess.Popen[bytes]", patience_s: float) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    text = b""
    deadline = time.monotonic() + patience_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while b"\n\n" not in text and selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            text += piece
    return text.decode()
