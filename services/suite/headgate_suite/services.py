"""Every service by name, each imported only where it is hosted: what a process does not do, it does not load."""

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from headgate_hosting.service import START_ORDER, Service

_MODULES = {name: f"headgate_{name}.hosted" for name in START_ORDER}


def services_named(names: Iterable[str]) -> list[Service]:
    """These services, in the order of their start."""
    wanted = frozenset(names)
    return [cast(Service, import_module(_MODULES[name]).SERVICE) for name in START_ORDER if name in wanted]
