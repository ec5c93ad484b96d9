"""A PostgreSQL and a Redis that belong to one test alone, so that it may kill them and hold them still. Their
programs must be installed: `initdb` and `postgres`, `redis-server`."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from headgate_testing.ports import free_port

READY_S = 20.0


@dataclass
class OwnServer:
    """A server with all its children. `url` is what HEADGATE_DATABASE_URL or
    HEADGATE_REDIS_URL would hold, `address` its `host:port`."""

    command: list[str]
    folder: Path
    address: str
    url: str
    answers: Callable[[str], bool]
    user: str | None = None
    _child: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises TimeoutError when it does not."""
        self._child = subprocess.Popen(  # noqa: S603 - a program of the machine, arguments of ours
            self.command,
            cwd=self.folder,
            user=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + READY_S
        while not self.answers(self.url):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.command[0]} does not answer at {self.address}")
            if self._child.poll() is not None:
                self.start()  # the one before had not let go of its folder yet
                return
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def pause(self) -> None:
        """SIGSTOP to all of it: connections stand, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is None or self._child.poll() is not None:
            return
        children = _children(self._child.pid)
        os.kill(self._child.pid, number)
        # Once it stands still it makes no more of them.
        for pid in {*children, *_children(self._child.pid)}:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(pid: int) -> list[int]:
    """PostgreSQL's backends leave the process group of the one that started them."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextmanager
def own_redis() -> Iterator[OwnServer]:
    """A Redis without persistence, for the length of the block. Raises FileNotFoundError without its program."""
    with _folder(None) as folder:
        port = free_port()
        program = _program("redis-server")
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        address = f"127.0.0.1:{port}"
        yield from _running(OwnServer(command, folder, address, f"redis://{address}/0", _redis_answers))


@contextmanager
def own_postgres() -> Iterator[OwnServer]:
    """An empty PostgreSQL, for the length of the block. Raises FileNotFoundError without its programs."""
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with _folder(user) as folder:
        port = free_port()
        make = [_program("initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(make, cwd=folder, user=user, check=True, capture_output=True)  # noqa: S603 - as above
        command = [_program("postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        address = f"127.0.0.1:{port}"
        url = f"postgresql://postgres@{address}/postgres"
        yield from _running(OwnServer(command, folder, address, url, _postgres_answers, user))


def _running(server: OwnServer) -> Iterator[OwnServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="headgate-server-"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def _redis_answers(url: str) -> bool:
    host, _, port = url.removeprefix("redis://").removesuffix("/0").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
