"""`headgate serve`: some of the services in this process."""

from collections.abc import Sequence

from headgate_hosting.banner import banner_of
from headgate_hosting.foreground import run
from headgate_hosting.separate import name_of, separate
from headgate_hosting.service import DATA_PLANE, START_ORDER
from headgate_settings import SettingsError, environment
from headgate_settings.suggest import did_you_mean
from headgate_suite.services import services_named
from headgate_suite.settings import load_all

EDGE = "edge"


def run_serve(words: Sequence[str]) -> None:
    """Serve until a signal. Raises SettingsError for words that name no set of services, and as `run` does."""
    environ = environment()
    settings = load_all(environ)
    services = services_named(names_of(words))
    run(separate(services, settings, environ), banner_of(name_of(services)))


def names_of(words: Sequence[str]) -> frozenset[str]:
    """The services that the arguments of `serve` stand for. Raises SettingsError for an unknown one, and for one that
    stands there twice."""
    names: list[str] = []
    for word in words:
        if word != EDGE and word not in START_ORDER:
            known = (EDGE, *START_ORDER)
            raise SettingsError(
                [f"there is no service '{word}'{did_you_mean(word, known)} (there are {', '.join(known)})"]
            )
        names += DATA_PLANE if word == EDGE else (word,)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        reason = " (edge is gateway and inference)" if EDGE in words else ""
        raise SettingsError([f"{', '.join(sorted(twice))}: named twice{reason}"])
    return frozenset(names)
