"""From the catalogue's `credential_ref` to the key itself, which only this process reads."""

from collections.abc import Mapping

from headgate_settings import Secret
from headgate_settings.config import ConfigFile

_ENVIRONMENT = "env:"
_FILE = "file:providers."


class ProviderKeys:
    """Finds keys in the environment and in `headgate.yaml`."""

    def __init__(self, config_file: ConfigFile, environ: Mapping[str, str]) -> None:
        self._config_file = config_file
        self._environ = environ

    def __call__(self, credential_ref: str) -> Secret:
        """The key that a reference names, an empty secret when there is none."""
        if credential_ref.startswith(_ENVIRONMENT):
            return Secret(self._environ.get(credential_ref.removeprefix(_ENVIRONMENT), ""))
        if not credential_ref.startswith(_FILE):
            return Secret()
        name = credential_ref.removeprefix(_FILE)
        providers = self._config_file.current.providers
        return next((provider.api_key for provider in providers if provider.name == name), Secret())
