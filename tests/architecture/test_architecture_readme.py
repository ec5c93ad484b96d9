"""What the README says is so."""

import re
import subprocess
import sys
from pathlib import Path

from headgate_settings.config import parse_config

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_settings_table_is_made_from_the_declarations() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "readme.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_link_and_folder_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


def test_the_sample_configuration_is_valid() -> None:
    (sample,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    config = parse_config(sample.encode(), "README.md", {"OPENAI_API_KEY": "sk-test"})
    assert [model.id for model in config.models] == ["gpt-4o-mini", "llama-2-70b"]
