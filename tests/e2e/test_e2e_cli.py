"""The command line as a newcomer meets it: help, keys, a chat, and one line for what went wrong."""

import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from headgate_testing.suite import AnySuite, Suite


def headgate(
    *arguments: str, cwd: Path, variables: dict[str, str] | None = None, text: str = ""
) -> "subprocess.CompletedProcess[str]":
    clean = {"PATH": "/usr/bin:/bin", "HEADGATE_DISCOVERY": "off", **(variables or {})}
    return subprocess.run(
        [sys.executable, "-m", "headgate_suite", *arguments],
        cwd=cwd, env=clean, input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def reach(suite: AnySuite, service: str) -> dict[str, str]:
    return {"HEADGATE_GRPC": suite.address(service), "HEADGATE_API_KEY": suite.key}


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_help_names_every_command(tmp_path: Path) -> None:
    text = headgate("--help", cwd=tmp_path).stdout
    assert all(command in text for command in ("up", "check", "keys", "chat"))


def test_a_key_is_made_used_listed_and_revoked(suite: AnySuite, tmp_path: Path) -> None:
    auth = reach(suite, "auth")
    made = headgate(
        "keys", "create", "cli", "--scope", "models:read", "--days", "3", cwd=tmp_path, variables=auth
    )
    key = made.stdout.strip()
    assert key.startswith("sk-hg-"), made.stderr
    headers = {"authorization": f"Bearer {key}"}
    assert httpx2.get(f"{suite.url}/v1/models", headers=headers).status_code == 200
    rows = headgate("keys", "list", cwd=tmp_path, variables=auth).stdout.splitlines()
    row = next(row.split() for row in rows if key.startswith(row.split()[1] + "_"))
    assert row[3] == "active" and row[4] == "enterprise" and key not in "".join(rows)
    assert "revoked" in headgate("keys", "revoke", row[0], cwd=tmp_path, variables=auth).stdout
    assert httpx2.get(f"{suite.url}/v1/models", headers=headers).status_code == 401


def test_a_generated_key_can_be_the_bootstrap_key(tmp_path: Path) -> None:
    assert headgate("keys", "generate", cwd=tmp_path).stdout.startswith("sk-hg-")


def test_a_conversation_is_streamed(suite: AnySuite, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text(
        "The ferry leaves at seven. Tickets cost four crowns. Dogs travel free."
    )
    done = headgate(
        "chat", "local-extractive", "--file", "note.txt", cwd=tmp_path, variables=reach(suite, "inference"),
        text="What does a ticket cost?\nDo dogs pay?\n",
    )  # fmt: skip
    assert "four crowns" in done.stdout and "free" in done.stdout


def test_an_unknown_model_is_one_sentence_and_the_conversation_goes_on(
    suite: AnySuite, tmp_path: Path
) -> None:
    inference = reach(suite, "inference")
    done = headgate("chat", "nothing", cwd=tmp_path, variables=inference, text="Hello?\n")
    assert done.returncode == 0 and "nothing" in done.stderr and "Traceback" not in done.stderr


def test_no_suite_is_one_line(tmp_path: Path) -> None:
    variables = {"HEADGATE_GRPC": "127.0.0.1:9", "HEADGATE_API_KEY": "sk-hg-x"}
    assert "headgate up" in one_line(headgate("keys", "list", cwd=tmp_path, variables=variables))


def test_no_key_is_one_line(tmp_path: Path) -> None:
    assert "HEADGATE_API_KEY" in one_line(headgate("keys", "list", cwd=tmp_path))


@pytest.mark.parametrize("variable", ["HEADGATE_HTTP", "HEADGATE_GRPC", "HEADGATE_OPS"])
def test_a_taken_port_is_one_line_that_names_the_variable(tmp_path: Path, variable: str) -> None:
    free = dict.fromkeys(("HEADGATE_HTTP", "HEADGATE_GRPC", "HEADGATE_OPS"), "127.0.0.1:0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = one_line(headgate("up", cwd=tmp_path, variables={**free, variable: address}))
    assert variable in line and address in line


@pytest.mark.parametrize("suite", ["one"], indirect=True)
def test_a_locked_data_folder_is_one_line(suite: Suite, tmp_path: Path) -> None:
    free = dict.fromkeys(("HEADGATE_HTTP", "HEADGATE_GRPC", "HEADGATE_OPS"), "127.0.0.1:0")
    done = headgate("up", cwd=tmp_path, variables={**free, "HEADGATE_DATA": str(suite.folder / "data")})
    assert "data" in one_line(done)


def test_a_bad_config_is_named_with_file_line_and_suggestion(tmp_path: Path) -> None:
    (tmp_path / "headgate.yaml").write_text(
        "providers:\n  - {name: a, typ: openai, base_url: 'http://x/v1'}\n"
    )
    for command in (["check"], ["up"]):
        done = headgate(*command, cwd=tmp_path)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "headgate.yaml:2" in done.stderr and "type" in done.stderr


def test_a_good_config_is_summed_up(tmp_path: Path) -> None:
    config = "providers:\n  - {name: a, type: openai, base_url: 'http://x/v1'}\nmodels:\n  - {id: m, provider: a}\n"
    (tmp_path / "headgate.yaml").write_text(config)
    done = headgate("check", cwd=tmp_path)
    assert done.returncode == 0 and "models: m" in done.stdout
    assert (
        "does not exist" in headgate("check", cwd=tmp_path, variables={"HEADGATE_CONFIG": "none.yaml"}).stdout
    )


def test_an_unknown_variable_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    line = one_line(headgate("up", cwd=tmp_path, variables={"HEADGATE_HTP": "127.0.0.1:0"}))
    assert "HEADGATE_HTP" in line and "HEADGATE_HTTP" in line
