"""`python -m headgate_auth` and its like: one service in a process of its own."""

from headgate_hosting.banner import banner_of
from headgate_hosting.faults import told_in_one_line
from headgate_hosting.foreground import run
from headgate_hosting.process import SETTINGS
from headgate_hosting.separate import separate
from headgate_hosting.service import Service
from headgate_settings import check_unknown, environment
from headgate_settings.loaded import LoadedSettings


def serve_alone(service: Service) -> None:
    """Serve until a signal. Of the variables only those of this service are checked for unknown names: what the
    others may have, it does not know."""
    with told_in_one_line():
        environ = environment()
        classes = (*SETTINGS, *service.settings)
        prefix = f"HEADGATE_{service.name.upper()}_"
        check_unknown({k: v for k, v in environ.items() if k.startswith(prefix)}, classes)
        run(separate([service], LoadedSettings(classes, environ), environ), banner_of(service.name))
