"""A whole suite on loopback: the real command in a process of its own, on ports of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headgate_testing.process import Process


class AnySuite(Protocol):
    """What tests need of a running suite, in one process or in many."""

    @property
    def folder(self) -> Path:
        """Where headgate.yaml and the logs are."""

    @property
    def url(self) -> str:
        """Base of the REST API, without a version path."""

    @property
    def grpc(self) -> str:
        """Where inference is called by outsiders."""

    @property
    def ops(self) -> str:
        """Base URL of the operators' listener, of the gateway's process where there are several."""

    @property
    def key(self) -> str:
        """The bootstrap key."""

    def target(self, service: str) -> str:
        """The gRPC target of a service, with all its replicas."""

    def address(self, service: str) -> str:
        """`host:port` where (one replica of) a service answers gRPC."""

    def ops_of(self, service: str) -> list[str]:
        """Base URLs of the operators' listeners of the processes that hold a service."""

    def logs(self) -> str:
        """The standard error of all processes: JSON lines."""


@dataclass
class Suite:
    """A running `headgate up`."""

    process: Process
    folder: Path

    @property
    def url(self) -> str:
        """Base of the REST API, without a version path."""
        return f"http://{self.process.addresses['REST']}"

    @property
    def grpc(self) -> str:
        """`host:port` of all gRPC services."""
        return self.process.addresses["gRPC"]

    @property
    def ops(self) -> str:
        """Base URL of the operators' listener."""
        return f"http://{self.process.addresses['metrics']}"

    @property
    def key(self) -> str:
        """The bootstrap key."""
        return (self.folder / "data" / "bootstrap-key").read_text().strip()

    @property
    def banner(self) -> str:
        """What it said when it was ready."""
        return self.process.banner

    @property
    def ready_s(self) -> float:
        """Seconds from its start until it was ready."""
        return self.process.ready_s

    @property
    def log(self) -> Path:
        """Its standard error: JSON lines."""
        return self.process.log

    def logs(self) -> str:
        """The text of its log."""
        return self.log.read_text()

    def target(self, service: str) -> str:
        """The gRPC target of a service: here all have one."""
        return self.grpc

    def address(self, service: str) -> str:
        """`host:port` where a service answers gRPC."""
        return self.grpc

    def ops_of(self, service: str) -> list[str]:
        """Base URLs of the operators' listeners of the processes that hold a service."""
        return [self.ops]

    def kill(self) -> None:
        """End it as a power-minded operator would: SIGKILL."""
        self.process.kill()

    def stop(self, timeout_s: float = 30) -> int:
        """End it gently; returns its exit status."""
        return self.process.stop(timeout_s)


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
        process = Process("the suite", self.command, self.folder, log, self._environment())
        process.start()
        return Suite(process, self.folder)

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
        suite.process.end()
