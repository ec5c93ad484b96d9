"""The first calls that the README shows are run as they stand there, but for the addresses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from headgate_testing.suite import Suite

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
FIRST_CALL = README.split("## First call")[1].split("\n## ")[0]
SAMPLES = re.findall(r"```(sh|python)\n(.*?)```", FIRST_CALL, re.DOTALL)
EXPECTED = {"curl": "four crowns", "openai": "four crowns", "grpc": "384"}


@pytest.mark.parametrize("suite", ["one"], indirect=True)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_first_call_of_the_readme_answers(suite: Suite, tmp_path: Path, name: str) -> None:
    language, sample = next(each for each in SAMPLES if f"{name}" in each[1])
    sample = sample.replace("http://127.0.0.1:8080", suite.url).replace("127.0.0.1:50051", suite.grpc)
    sample = re.sub(r"^export .*$", "", sample, flags=re.MULTILINE)
    file = tmp_path / "sample"
    file.write_text(sample)
    done = subprocess.run(
        ["bash" if language == "sh" else sys.executable, file],
        env={"PATH": "/usr/bin:/bin", "HEADGATE_API_KEY": suite.key},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert EXPECTED[name] in done.stdout
