"""A process in the foreground: from its start to the signal that ends it."""

import asyncio
import gc
import os
from collections.abc import Callable

import uvloop

from headgate_hosting.faults import CannotServe
from headgate_hosting.process import Plan, Process
from headgate_rpc.lifecycle import until_signalled


def run(plan: Plan, banner: Callable[[Process], str]) -> None:
    """Serve until SIGINT or SIGTERM, which end it gently; a second one ends it at once. Prints the banner when calls
    can be served. Raises CannotServe, OSError, SettingsError and ConfigError for what cannot be used."""
    faults = tuple({fault for service in plan.services for fault in service.faults})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(Process(plan), banner))
    except faults as fault:
        raise CannotServe(str(fault)) from fault


async def _serve(process: Process, banner: Callable[[Process], str]) -> None:
    signalled = asyncio.ensure_future(until_signalled(on_second=lambda: os._exit(1)))
    starting = asyncio.create_task(process.start())
    try:
        # The start may wait for other processes for ever, and a signal must end that too.
        await asyncio.wait((starting, signalled), return_when=asyncio.FIRST_COMPLETED)
        if not signalled.done():
            await starting
            _settle_down()
            print(banner(process), end="", flush=True)  # noqa: T201 - what the process is for to say
            await signalled
    finally:
        signalled.cancel()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await process.stop()


def _settle_down() -> None:
    # What is there now stays: the collector need not look at it again at every full run.
    gc.collect()
    gc.freeze()
    # Calls leave next to no cycles: looking every 700 objects finds little and takes time from every call.
    gc.set_threshold(10_000, 20, 100)
