"""Variables become one frozen object; what cannot be used is named in one line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from headgate_settings import (
    Bytes,
    HostPort,
    Seconds,
    Secret,
    SettingsError,
    check_unknown,
    load,
    setting,
    settings_table,
)


@dataclass(frozen=True, slots=True)
class Every:
    name: str = setting(env="HEADGATE_NAME", default="a", help="A name.")
    count: int = setting(env="HEADGATE_COUNT", default=3, help="A count.")
    ratio: float = setting(env="HEADGATE_RATIO", default=0.5, help="A ratio | share.")
    discovery: bool = setting(env="HEADGATE_DISCOVERY", default=True, help="Look for servers.")
    data: Path = setting(env="HEADGATE_DATA", default=Path(".headgate"), help="Folder.")
    key: Secret = setting(env="OPENAI_API_KEY", default=Secret(), help="Key.")
    patience: Seconds = setting(env="HEADGATE_PATIENCE", default=Seconds(0.25), help="Wait.")
    limit: Bytes = setting(env="HEADGATE_LIMIT", default=Bytes(65536), help="Cap.")
    http: HostPort = setting(env="HEADGATE_HTTP", default=HostPort("127.0.0.1", 8080), help="Listener.")
    sync: Literal["batch", "always"] = setting(env="HEADGATE_SYNC", default="batch", help="When.")
    tags: tuple[str, ...] = setting(env="HEADGATE_TAGS", default=(), help="Tags.")
    peer: HostPort | None = setting(env="HEADGATE_PEER", default=None, help="Peer.")
    derived: int = 7


def test_nothing_set_means_defaults() -> None:
    assert load(Every, {}) == Every()


def test_empty_counts_as_unset() -> None:
    assert load(Every, {"HEADGATE_COUNT": "", "HEADGATE_NAME": ""}) == Every()


@pytest.mark.parametrize(
    ("env", "text", "field", "value"),
    [
        ("HEADGATE_NAME", " b ", "name", " b "),
        ("HEADGATE_COUNT", "12", "count", 12),
        ("HEADGATE_RATIO", "1e-3", "ratio", 0.001),
        ("HEADGATE_DISCOVERY", "off", "discovery", False),
        ("HEADGATE_DISCOVERY", "TRUE", "discovery", True),
        ("HEADGATE_DATA", "/srv/x", "data", Path("/srv/x")),
        ("OPENAI_API_KEY", "sk-1", "key", Secret("sk-1")),
        ("HEADGATE_PATIENCE", "250ms", "patience", 0.25),
        ("HEADGATE_PATIENCE", "10m", "patience", 600.0),
        ("HEADGATE_PATIENCE", "1m30s", "patience", 90.0),
        ("HEADGATE_PATIENCE", "0", "patience", 0.0),
        ("HEADGATE_LIMIT", "64KiB", "limit", 65536),
        ("HEADGATE_LIMIT", "1MB", "limit", 1_000_000),
        ("HEADGATE_LIMIT", "17", "limit", 17),
        ("HEADGATE_HTTP", "[::1]:0", "http", HostPort("::1", 0)),
        ("HEADGATE_HTTP", ":80", "http", HostPort("0.0.0.0", 80)),
        ("HEADGATE_PEER", "auth:50052", "peer", HostPort("auth", 50052)),
        ("HEADGATE_SYNC", "always", "sync", "always"),
        ("HEADGATE_TAGS", "a, b,", "tags", ("a", "b")),
    ],
)
def test_each_type_is_read(env: str, text: str, field: str, value: object) -> None:
    assert getattr(load(Every, {env: text}), field) == value


@pytest.mark.parametrize(
    ("env", "text", "problem"),
    [
        ("HEADGATE_COUNT", "many", "HEADGATE_COUNT: 'many' is not a whole number"),
        ("HEADGATE_RATIO", "nan", "HEADGATE_RATIO: 'nan' is not a finite number"),
        ("HEADGATE_DISCOVERY", "maybe", "HEADGATE_DISCOVERY: 'maybe' is neither on nor off"),
        ("HEADGATE_PATIENCE", "3", "HEADGATE_PATIENCE: '3' is not a duration such as 250ms, 3s or 10m"),
        ("HEADGATE_PATIENCE", "-3s", "HEADGATE_PATIENCE: '-3s' is not a duration such as 250ms, 3s or 10m"),
        ("HEADGATE_LIMIT", "1 blob", "HEADGATE_LIMIT: '1 blob' is not a size such as 65536, 64KiB or 10MiB"),
        ("HEADGATE_HTTP", "8080", "HEADGATE_HTTP: '8080' is not an address such as 127.0.0.1:8080"),
        ("HEADGATE_HTTP", "h:70000", "HEADGATE_HTTP: 'h:70000' is not an address such as 127.0.0.1:8080"),
        (
            "HEADGATE_SYNC",
            "allways",
            "HEADGATE_SYNC: 'allways' is not one of batch, always; did you mean 'always'?",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_variable(env: str, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Every, {env: text})
    assert str(caught.value) == problem


def test_every_problem_is_reported() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Every, {"HEADGATE_COUNT": "x", "HEADGATE_RATIO": "y"})
    assert len(caught.value.problems) == 2


def test_unknown_variables_are_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError) as caught:
        check_unknown({"HEADGATE_DICSOVERY": "off", "HEADGATE_NAME": "ok", "PATH": "/bin"}, [Every])
    assert str(caught.value) == "HEADGATE_DICSOVERY: unknown variable; did you mean 'HEADGATE_DISCOVERY'?"


def test_variables_that_kubernetes_adds_are_no_concern() -> None:
    check_unknown(
        {
            "HEADGATE_AUTH_SERVICE_HOST": "10.0.0.1",
            "HEADGATE_AUTH_SERVICE_PORT": "50052",
            "HEADGATE_AUTH_SERVICE_PORT_GRPC": "50052",
            "HEADGATE_AUTH_PORT": "tcp://10.0.0.1:50052",
            "HEADGATE_AUTH_PORT_50052_TCP": "tcp://10.0.0.1:50052",
            "HEADGATE_AUTH_PORT_50052_TCP_ADDR": "10.0.0.1",
        },
        [Every],
    )


def test_names_declared_elsewhere_are_known() -> None:
    check_unknown({"HEADGATE_API_KEY": "x"}, [Every], also=["HEADGATE_API_KEY"])


def test_table_lists_each_variable_once_with_default_and_meaning() -> None:
    table = settings_table([Every, Every])
    assert "| `HEADGATE_RATIO` | `0.5` | A ratio \\| share. |\n" in table
    assert "| `HEADGATE_DISCOVERY` | `on` | Look for servers. |\n" in table
    assert "| `HEADGATE_PATIENCE` | `250ms` | Wait. |\n" in table
    assert "| `HEADGATE_LIMIT` | `64KiB` | Cap. |\n" in table
    assert "| `HEADGATE_DATA` | `./.headgate` | Folder. |\n" in table
    assert "| `OPENAI_API_KEY` | – | Key. |\n" in table
    assert table.count("HEADGATE_HTTP") == 1


def test_one_variable_with_two_defaults_is_a_mistake() -> None:
    @dataclass(frozen=True, slots=True)
    class Other:
        count: int = setting(env="HEADGATE_COUNT", default=4, help="A count.")

    with pytest.raises(ValueError, match="HEADGATE_COUNT"):
        settings_table([Every, Other])
