"""`headgate up --processes`: the suite as one process for each service, in the foreground, until a signal."""

import asyncio
import os
import sys
from collections.abc import Mapping

from headgate_auth.settings import AuthSettings
from headgate_hosting.settings import ProcessSettings
from headgate_rpc.lifecycle import until_signalled
from headgate_settings import environment
from headgate_settings.config import ConfigFile
from headgate_settings.loaded import LoadedSettings
from headgate_suite.banner import suite_banner
from headgate_suite.child import Child
from headgate_suite.layout import Place, environment_of, layout
from headgate_suite.settings import load_all
from headgate_suite.supervisor import Supervisor
from headgate_telemetry.logs import configure_logs
from headgate_telemetry.settings import TelemetrySettings
from headgate_telemetry.writer import LineWriter


def run_processes() -> None:
    """Supervise until SIGINT or SIGTERM; a second one ends everything at once. Raises what cannot be used, and
    CannotServe when a service does not start."""
    environ = environment()
    settings = load_all(environ)
    # Each service reads it too; a mistake in it need not be told six times.
    ConfigFile(settings.of(ProcessSettings).config, environ).read()
    writer = LineWriter(sys.stderr.fileno(), on_drop=lambda _: None)
    configure_logs(writer, "headgate-up", settings.of(TelemetrySettings).log_level)
    try:
        asyncio.run(_supervise(settings, environ))
    finally:
        writer.close()


async def _supervise(settings: LoadedSettings, environ: Mapping[str, str]) -> None:
    places = layout(settings)
    children = [Child(name, environment_of(place, places, environ)) for name, place in places.items()]
    supervisor = Supervisor(children, settings.of(ProcessSettings).leave_s)

    def at_once() -> None:
        supervisor.kill()
        os._exit(1)

    signalled = asyncio.ensure_future(until_signalled(on_second=at_once))
    starting = asyncio.create_task(supervisor.start())
    try:
        await asyncio.wait((starting, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not signalled.done():
            await starting
            print(_banner(places, settings), end="", flush=True)
            await signalled
    finally:
        signalled.cancel()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await supervisor.stop()


def _banner(places: Mapping[str, Place], settings: LoadedSettings) -> str:
    gateway, inference = places["gateway"], places["inference"]
    lines = [
        f"  REST     http://{gateway.address}/v1\n",
        f"  gRPC     {inference.address}  inference\n",
        f"  metrics  http://{gateway.ops}/metrics  gateway\n",
    ]
    lines += [
        f"  {name:9} gRPC {place.address}, metrics http://{place.ops}/metrics\n"
        for name, place in sorted(places.items())
        if name != "gateway"
    ]
    lines.append(f"  keys     HEADGATE_AUTH_TARGET={places['auth'].address} headgate keys create NAME\n")
    return suite_banner(str(gateway.address), "".join(lines), settings.of(AuthSettings))
