"""The walls of the house: who may import whom, where the environment is read, what no module may do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBS = {p.name for p in ROOT.glob("libs/*/headgate_*")}
SERVICES = {p.name for p in ROOT.glob("services/*/headgate_*")} | {"headgate_gateway"}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "core", "misc"}


def modules() -> list[Path]:
    folders = ("libs", "services", "gateway")
    return sorted(p for f in folders for p in (ROOT / f).rglob("*.py") if "protos" not in p.parts)


def package_of(module: Path) -> str:
    return next(part for part in module.relative_to(ROOT).parts if part.startswith("headgate_"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def wrong_imports(package: str, imported: set[str]) -> set[str]:
    if package == "headgate_suite":
        return set()
    allowed = LIBS | {package}
    return {name for name in imported if name.startswith("headgate_") and name.split(".")[0] not in allowed}


@pytest.mark.parametrize("module", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_libs_stubs_and_its_own_service(module: Path) -> None:
    tree = ast.parse(module.read_text())
    assert wrong_imports(package_of(module), set(imports(tree))) == set()


def test_the_rule_would_notice_a_service_that_imports_another() -> None:
    assert wrong_imports("headgate_auth", {"headgate_rpc.errors", "headgate_metering.ledger"}) == {
        "headgate_metering.ledger"
    }
    assert wrong_imports("headgate_rpc", {"headgate_inference.app"}) == {"headgate_inference.app"}


def test_only_settings_reads_the_environment() -> None:
    readers = [
        module
        for module in modules()
        if package_of(module) != "headgate_settings"
        and any(
            isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            for node in ast.walk(ast.parse(module.read_text()))
        )
    ]
    assert readers == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [m for m in modules() if m.stem in FORBIDDEN_NAMES] == []


def test_every_package_is_in_the_wheel_and_typed() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    for package in ROOT.glob("*/*/headgate_*"):
        assert f'"{package.relative_to(ROOT)}"' in pyproject
        assert (package / "py.typed").exists()


def test_every_service_can_run_alone_and_says_how_it_is_hosted() -> None:
    for package in [*ROOT.glob("services/*/headgate_*"), ROOT / "gateway/headgate_gateway"]:
        entry = package / "__main__.py"
        assert entry.exists() and len(entry.read_text().splitlines()) < 20
        assert package.name == "headgate_suite" or (package / "hosted.py").exists()


def test_every_module_says_what_it_is() -> None:
    silent = [
        m for m in modules() if m.read_text().strip() and ast.get_docstring(ast.parse(m.read_text())) is None
    ]
    assert silent == []
