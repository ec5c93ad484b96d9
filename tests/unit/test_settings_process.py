"""What a process prefers of gRPC, and that its owner may prefer something else."""

import subprocess
import sys

import pytest

from headgate_testing.process import clean_environment

# A peer that takes a connection and leaves with an error at once: HTTP/2 SETTINGS, then GOAWAY (RFC 9113, section 6.8).
LEFT = """
import socket, threading
from headgate_settings.process import prefer_lean_grpc
prefer_lean_grpc()
import grpc

listener = socket.create_server(("127.0.0.1", 0))

def leave():
    while True:
        peer = listener.accept()[0]
        peer.sendall(bytes.fromhex("000000040000000000" "000008070000000000" "0000000000000002"))

threading.Thread(target=leave, daemon=True).start()
with grpc.insecure_channel("127.0.0.1:%d" % listener.getsockname()[1]) as channel:
    try:
        channel.unary_unary("/s/m")(b"", timeout=1)
    except grpc.RpcError as fault:
        print(fault.code().name)
"""


def errors_of(variables: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LEFT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**clean_environment(), **variables},
    )
    assert done.stdout
    return done.stderr


def test_a_peer_that_leaves_is_not_worth_a_line() -> None:
    assert errors_of({}) == ""


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_whoever_asks_grpc_to_talk_hears_it(level: str) -> None:
    assert "Got goaway" in errors_of({"GRPC_VERBOSITY": level})
