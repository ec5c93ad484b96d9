"""Ports for processes that must be found again at the same address after a restart."""

import random
import socket
from pathlib import Path

_TAKEN: set[int] = set()


def free_port() -> int:
    """A free port of 127.0.0.1, each number once in this process.

    It lies below the ports that the kernel gives to outgoing connections; one of those could sit on the address
    of a process just while that one is restarted.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(lowest, 11_000))
        if port not in _TAKEN and _is_free(port):
            _TAKEN.add(port)
            return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
