"""Which services the words after `headgate serve` stand for, and what a process loads for them."""

import subprocess
import sys

import pytest

from headgate_hosting.service import START_ORDER
from headgate_settings import SettingsError
from headgate_suite.serve import names_of
from headgate_suite.services import services_named

LOADED = """
import sys
from headgate_suite.serve import names_of, services_named
services_named(names_of({words!r}))
print(*sys.modules)
"""
STORES = {"sqlalchemy", "alembic", "psycopg", "redis"}
MODELS = {"headgate_inference.app", "headgate_gateway.app", "onnxruntime", "numpy", "tokenizers"}


def test_edge_is_gateway_and_inference() -> None:
    assert names_of(["edge"]) == {"gateway", "inference"}
    assert names_of(["routing", "auth"]) == {"routing", "auth"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rooting"], "'rooting'; did you mean 'routing'"),
        (["edge", "gateway"], "gateway: named twice .edge is"),
        (["auth", "auth"], "auth: named twice"),
    ],
)
def test_nonsense_is_refused_in_words(words: list[str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        names_of(words)


def test_every_service_is_described_under_its_own_name() -> None:
    services = services_named(START_ORDER)
    assert tuple(service.name for service in services) == START_ORDER
    assert [service.name for service in services if service.contract is None] == ["gateway"]


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["edge"], STORES),
        (["auth", "registry", "routing", "metering"], MODELS),
        (["routing"], STORES | MODELS),
    ],
)
def test_a_process_does_not_load_what_it_does_not_do(words: list[str], unwanted: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(words=words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not unwanted & set(done.stdout.split())
    assert {f"headgate_{name}.app" for name in names_of(words)} <= set(done.stdout.split())
