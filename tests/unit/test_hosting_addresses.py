"""Where services are looked for, and by what secret they know each other."""

from pathlib import Path

import pytest

from headgate_hosting.settings import AddressSettings, ProcessSettings
from headgate_hosting.suite_secret import suite_secret
from headgate_hosting.targets import is_on_this_machine, problem_of
from headgate_settings import Secret, SettingsError, load

HERE = [
    "127.0.0.1:50051",
    "localhost:1",
    "[::1]:50051",
    "0.0.0.0:50051",
    "ipv4:127.0.0.1:1,127.0.0.2:2",
    "ipv6:[::1]:1",
    "dns:///localhost:50051",
    "unix:/run/headgate.sock",
]
AWAY = [
    "10.0.0.7:50051",
    "auth:50052",
    "dns:///headgate-auth:50052",
    "dns://127.0.0.1/headgate-auth:50052",
    "ipv4:127.0.0.1:1,10.0.0.7:2",
]


@pytest.mark.parametrize("target", HERE)
def test_a_target_of_this_machine_is_known(target: str) -> None:
    assert problem_of(target) == "" and is_on_this_machine(target)


@pytest.mark.parametrize("target", AWAY)
def test_a_target_elsewhere_is_known(target: str) -> None:
    assert problem_of(target) == "" and not is_on_this_machine(target)


@pytest.mark.parametrize(
    "target", ["auth", "127.0.0.1", "127.0.0.1:", "ipv4:127.0.0.1:1,127.0.0.2", "unix:", "a b:1"]
)
def test_a_target_that_nobody_could_be_found_by_is_named_with_its_variable(target: str) -> None:
    with pytest.raises(SettingsError, match="HEADGATE_AUTH_TARGET"):
        load(AddressSettings, {"HEADGATE_AUTH_TARGET": target})


def test_a_service_is_looked_for_where_it_listens_unless_told_otherwise() -> None:
    settings = load(
        AddressSettings,
        {"HEADGATE_AUTH_LISTEN": "127.0.0.1:7", "HEADGATE_ROUTING_TARGET": "dns:///routing:1"},
    )
    assert settings.target("auth") == "127.0.0.1:7"
    assert settings.target("routing") == "dns:///routing:1"
    assert settings.target("metering") == "127.0.0.1:50055"


def test_the_secret_that_was_set_is_used(tmp_path: Path) -> None:
    settings = ProcessSettings(data=tmp_path, suite_secret=Secret("of all"))
    assert suite_secret(settings, {"HEADGATE_AUTH_TARGET": "auth:50052"}) == Secret("of all")
    assert not (tmp_path / "suite-secret").exists()


def test_on_one_machine_the_data_folder_holds_it_for_all(tmp_path: Path) -> None:
    settings = ProcessSettings(data=tmp_path)
    first = suite_secret(settings, {"HEADGATE_AUTH_TARGET": "127.0.0.1:50052"})
    assert len(first.reveal()) == 64 and suite_secret(settings, {}) == first
    assert (tmp_path / "suite-secret").stat().st_mode & 0o777 == 0o600


def test_no_secret_is_made_up_when_another_machine_would_have_another(tmp_path: Path) -> None:
    targets = {"HEADGATE_AUTH_TARGET": "auth:50052", "HEADGATE_ROUTING_TARGET": "127.0.0.1:50054"}
    with pytest.raises(SettingsError, match=r"HEADGATE_SUITE_SECRET.*HEADGATE_AUTH_TARGET=auth:50052$"):
        suite_secret(ProcessSettings(data=tmp_path), targets)
