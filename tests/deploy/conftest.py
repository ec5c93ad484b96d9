"""The manifests as a cluster would get them: rendered by `kubectl kustomize`, which needs no cluster."""

import os
import re
import shutil
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

K8S = Path(__file__).resolve().parents[2] / "deploy" / "k8s"
COMPONENTS = [path.name for path in sorted(K8S.glob("components/*"))]

Objects = list[dict[str, Any]]

# Held as rules by all that follow: dev, production, and production with everything that can be added to it.
OVERLAYS = ("dev", "production", "production+components")


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> Objects:
    """What an overlay consists of; a copy, to be broken at will."""
    return deepcopy(_rendered(request.param))


@pytest.fixture
def production() -> Objects:
    """The production overlay alone; a copy."""
    return deepcopy(_rendered("production"))


@pytest.fixture
def dev() -> Objects:
    """The dev overlay alone; a copy."""
    return deepcopy(_rendered("dev"))


@cache
def _rendered(name: str) -> Objects:
    overlay, _, components = name.partition("+")
    folder = K8S / "overlays" / overlay
    if not components:
        return _kustomize(folder)
    with TemporaryDirectory() as copy:
        shutil.copytree(K8S, copy, dirs_exist_ok=True)
        file = Path(copy, "overlays", overlay, "kustomization.yaml")
        file.write_text(_with_components(file.read_text()))
        return _kustomize(file.parent)


def _with_components(kustomization: str) -> str:
    """What an operator does: take the comment signs away."""
    changed = re.sub(r"^# (components:|  - \.\./\.\./components/)", r"\1", kustomization, flags=re.MULTILINE)
    assert len(yaml.safe_load(changed)["components"]) == len(COMPONENTS)
    return changed


def _kustomize(folder: Path) -> Objects:
    if shutil.which("kubectl") is None:
        reason = "kubectl is not installed; .ci/run needs it"
        # A newcomer's `make test` goes on without; the gate does not.
        if os.environ.get("REQUIRE_KUBECTL"):
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]
