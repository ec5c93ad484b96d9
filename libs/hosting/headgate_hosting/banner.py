"""What a process says when it can serve."""

from collections.abc import Callable

from headgate_hosting.process import Process


def banner_of(title: str) -> Callable[[Process], str]:
    """The banner of `headgate serve`: the addresses; ends with an empty line."""

    def banner(process: Process) -> str:
        return f"Headgate {title} is ready.\n{address_lines(process)}\n"

    return banner


def address_lines(process: Process) -> str:
    """A line for each address that the process answers on."""
    lines = [
        f"  {each.label:8} http://{each.address}/v1\n"
        if each.label == "REST"
        else f"  {each.label:8} {each.address}  {' '.join(each.names)}".rstrip() + "\n"
        for each in process.listeners
    ]
    return "".join([*lines, f"  metrics  http://{process.ops}/metrics\n"])
