"""`headgate serve`: one service by itself, what it says when something is missing, and how it ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from headgate_testing.ports import free_port
from headgate_testing.process import Process, clean_environment

NAMES = ("INFERENCE", "AUTH", "REGISTRY", "ROUTING", "METERING")


def variables(folder: Path, **more: str) -> dict[str, str]:
    """Nobody answers at the targets."""
    return {
        "HEADGATE_DATA": str(folder / "data"),
        "HEADGATE_HTTP": f"127.0.0.1:{free_port()}",
        "HEADGATE_OPS": f"127.0.0.1:{free_port()}",
        "HEADGATE_DISCOVERY": "off",
        "HEADGATE_GRACE": "5s",
        **{f"HEADGATE_{name}_LISTEN": f"127.0.0.1:{free_port()}" for name in NAMES},
        **more,
    }


def refusal(folder: Path, *command: str, **more: str) -> str:
    """The one line that the command ends with."""
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={**clean_environment(), **variables(folder, **more)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_words_that_name_no_service_are_refused(tmp_path: Path) -> None:
    assert "did you mean 'routing'" in refusal(tmp_path, "-m", "headgate_suite", "serve", "rooting")
    assert "edge is gateway and inference" in refusal(
        tmp_path, "-m", "headgate_suite", "serve", "edge", "gateway"
    )


@pytest.mark.parametrize(
    "command", [("-m", "headgate_suite", "serve", "registry"), ("-m", "headgate_registry")]
)
def test_a_taken_address_is_named_with_its_variable(tmp_path: Path, command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refusal(tmp_path, *command, HEADGATE_REGISTRY_LISTEN=address)
    assert line == f"headgate: {address} is taken; set HEADGATE_REGISTRY_LISTEN to a free address"


def test_services_on_other_machines_need_a_common_secret(tmp_path: Path) -> None:
    line = refusal(
        tmp_path, "-m", "headgate_suite", "serve", "routing", HEADGATE_REGISTRY_TARGET="dns:///registry:50053"
    )
    assert "HEADGATE_SUITE_SECRET" in line and "HEADGATE_REGISTRY_TARGET=dns:///registry:50053" in line


def test_an_unknown_variable_of_its_own_is_refused_by_a_service_alone(tmp_path: Path) -> None:
    line = refusal(tmp_path, "-m", "headgate_auth", HEADGATE_AUTH_LISTN="127.0.0.1:1")
    assert "HEADGATE_AUTH_LISTN" in line and "HEADGATE_AUTH_LISTEN" in line


def test_a_control_plane_is_ready_without_the_others_and_ends_gently(tmp_path: Path) -> None:
    at = variables(tmp_path)
    control = Process(
        "control", ("-m", "headgate_suite", "serve", "auth", "metering"), tmp_path, tmp_path / "log", at
    )
    try:
        control.start()
        assert f"gRPC     {at['HEADGATE_AUTH_LISTEN']}  auth" in control.banner
        assert f"gRPC     {at['HEADGATE_METERING_LISTEN']}  metering" in control.banner
        assert httpx2.get(f"http://{at['HEADGATE_OPS']}/readyz").status_code == 200
        assert control.stop() == 0
    finally:
        control.end()
    assert "Traceback" not in control.log.read_text()


def test_a_gateway_without_inference_answers_that_it_does_not_know_and_can_be_ended(tmp_path: Path) -> None:
    at = variables(tmp_path)
    gateway = Process("gateway", ("-m", "headgate_gateway"), tmp_path, tmp_path / "log", at)
    client = httpx2.Client(
        base_url=f"http://{at['HEADGATE_HTTP']}", headers={"authorization": "Bearer sk-hg-x"},
        transport=httpx2.HTTPTransport(retries=10),
    )  # fmt: skip
    try:
        gateway.spawn()
        with client:
            assert client.get("/healthz").status_code == 200
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
            reply = client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "service_unavailable"
        assert int(reply.headers["retry-after"]) >= 1
        gateway.child.send_signal(signal.SIGTERM)
        assert gateway.child.wait(20) == 0
    finally:
        gateway.end()
    assert "Traceback" not in gateway.log.read_text()
    assert '"path":"/v1/chat/completions"' in gateway.log.read_text()
