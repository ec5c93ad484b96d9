"""`headgate up`: the suite in the foreground, until a signal."""

import gc
import os
from asyncio import Runner

import uvloop

from headgate_rpc.lifecycle import until_signalled
from headgate_settings import environment
from headgate_settings.config import ConfigFile
from headgate_suite.app import Suite
from headgate_suite.banner import ready_banner
from headgate_suite.settings import load_all


def run_up() -> None:
    """Serve until SIGINT or SIGTERM; a second one ends at once. Raises what cannot be used, before serving."""
    environ = environment()
    settings = load_all(environ)
    config_file = ConfigFile(settings.suite.config, environ)
    config_file.read()
    with Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Suite(settings, config_file)))


async def _serve(suite: Suite) -> None:
    await suite.start()
    # What is there now stays: the collector need not look at it again at every full run.
    gc.collect()
    gc.freeze()
    # Calls leave next to no cycles: looking every 700 objects finds little and takes time from every call.
    gc.set_threshold(10_000, 20, 100)
    print(ready_banner(suite), end="", flush=True)
    await until_signalled(on_second=lambda: os._exit(1))
    await suite.stop()
