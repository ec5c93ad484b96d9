"""The operator's page: its links lead somewhere, its ports are the real ones, every command says whether it was
tried, and every file that it names exists."""

import re
from pathlib import Path

from headgate_hosting.settings import AddressSettings
from headgate_settings import HostPort
from headgate_settings.environment import declarations
from headgate_telemetry.settings import TelemetrySettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGE = (DEPLOY / "README.md").read_text()


def test_every_link_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", PAGE, re.M)
    }
    for file, _, anchor in (target.partition("#") for target in re.findall(r"\]\(([^)]+)\)", PAGE)):
        assert (DEPLOY / file).exists(), file
        assert file or anchor in headings, anchor


def test_every_command_says_whether_it_was_tried() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n", PAGE)
    assert len(blocks) > 5
    for first in blocks:
        assert re.match(r"# .*\b(tried|Tried)\b", first), first


def test_every_manifest_named_in_a_command_exists() -> None:
    for path in re.findall(r"deploy/[\w./-]+", PAGE):
        # The one that an operator makes.
        assert (
            path == "deploy/compose.env" or (DEPLOY.parent / path.rstrip(".")).exists() or path in NOT_FILES
        ), path


# `kubectl exec deploy/NAME`: a Deployment.
NOT_FILES = {f"deploy/headgate-{name}" for name in ("auth", "gateway", "metering", "registry", "routing")}


def test_the_ports_are_the_defaults_of_the_settings() -> None:
    listed = {int(port) for port in re.findall(r"^\| (\d+) \|", PAGE, re.M)}
    defaults = {
        each.default.port
        for settings in (AddressSettings, TelemetrySettings)
        for each in declarations(settings)
        if isinstance(each.default, HostPort)
    }
    assert listed == defaults
