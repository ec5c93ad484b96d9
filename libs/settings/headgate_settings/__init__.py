"""Environment variables and `headgate.yaml` to frozen dataclasses, with secrets that print as `***`."""

from headgate_settings.environment import SettingsError, check_unknown, environment, load, setting
from headgate_settings.quantities import Bytes, HostPort, Seconds
from headgate_settings.secret import Secret
from headgate_settings.table import settings_table

__all__ = [
    "Bytes",
    "HostPort",
    "Seconds",
    "Secret",
    "SettingsError",
    "check_unknown",
    "environment",
    "load",
    "setting",
    "settings_table",
]
