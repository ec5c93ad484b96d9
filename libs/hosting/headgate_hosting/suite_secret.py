"""The secret by which the processes of one suite know each other (decisions.md 12)."""

import secrets
from collections.abc import Mapping

from headgate_hosting.settings import ProcessSettings
from headgate_hosting.targets import is_on_this_machine
from headgate_settings import Secret, SettingsError
from headgate_settings.secret_files import kept_secret


def suite_secret(settings: ProcessSettings, targets: Mapping[str, str]) -> Secret:
    """The one that was set, else the one in the data folder. `targets` are those of the other processes, by variable.

    Raises SettingsError where the data folder cannot do: another machine would make a secret of its own.
    """
    if settings.suite_secret:
        return settings.suite_secret
    away = [f"{variable}={target}" for variable, target in targets.items() if not is_on_this_machine(target)]
    if away:
        raise SettingsError(
            [f"HEADGATE_SUITE_SECRET: must be set, to the same for all, because of {', '.join(away)}"]
        )
    return kept_secret(settings.data / "suite-secret", lambda: Secret(secrets.token_hex(32)))
