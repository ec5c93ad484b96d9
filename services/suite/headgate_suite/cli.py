"""The command `headgate`: what it can do, and one line for what went wrong."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from headgate_hosting.faults import fail, told_in_one_line
from headgate_rpc.errors import HeadgateError

app = typer.Typer(
    name="headgate",
    help="An AI inference gateway: `headgate up` starts it, `headgate keys create` lets somebody in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="Make, list and end API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


def run() -> None:
    """Run the command line. Faults of a user's making end in one line on standard error and exit status 1."""
    with told_in_one_line():
        try:
            app()
        except HeadgateError as error:
            fail(error.message if error.field is None else f"{error.field}: {error.message}")


@app.command()
def up(
    *,
    processes: Annotated[
        bool, typer.Option("--processes", help="One process for each service, started again when it dies.")
    ] = False,
) -> None:
    """Run every service until Ctrl-C, in this process unless told otherwise."""
    # Here, because the services take a second to import.
    if processes:
        from headgate_suite.processes import run_processes  # noqa: PLC0415

        run_processes()
    else:
        from headgate_suite.up import run_up  # noqa: PLC0415

        run_up()


@app.command()
def serve(
    services: Annotated[
        list[str],
        typer.Argument(help="gateway, inference, auth, registry, routing, metering; edge is the first two."),
    ],
    *,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Run these services in this process until Ctrl-C; the others are found by HEADGATE_<NAME>_TARGET."""
    from headgate_settings.process import end_with_parent  # noqa: PLC0415
    from headgate_suite.serve import run_serve  # noqa: PLC0415

    if supervised:
        end_with_parent()

    run_serve(services)


@app.command()
def check(
    config: Annotated[
        Path | None, typer.Argument(help="Default: HEADGATE_CONFIG, else headgate.yaml.")
    ] = None,
) -> None:
    """Check the configuration file and say what is in it."""
    from headgate_suite.check import check_config  # noqa: PLC0415

    print(check_config(config))


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="Id or alias of a model, such as local-extractive.")],
    system: Annotated[
        str | None, typer.Option(help="Instructions that stand before the conversation.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A text that the conversation is about.")] = None,
) -> None:
    """Talk to a model in the terminal. An empty line or Ctrl-D ends it."""
    from headgate_suite.chat import converse  # noqa: PLC0415

    asyncio.run(converse(model, system, file))


@keys.command("generate")
def generate_key() -> None:
    """Print a new key without storing it, for HEADGATE_BOOTSTRAP_KEY."""
    from headgate_credentials import generate  # noqa: PLC0415

    print(generate().text.reveal())


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option(help="Repeatable; default: inference, models:read, usage:read.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Repeatable; only these models; default: any.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Rate policy: enterprise (no limits), standard, free …")
    ] = "enterprise",
    ip: Annotated[
        list[str] | None, typer.Option(help="Repeatable; CIDR the caller must come from; default: any.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until the key expires; default: never.")
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    from headgate_suite.keys import NewKey, create  # noqa: PLC0415

    wanted = NewKey(name, scope or [], model or [], policy, ip or [], days)
    print(asyncio.run(create(wanted)))


@keys.command("list")
def list_keys() -> None:
    """List the account's keys, without their secrets."""
    from headgate_suite.keys import listing  # noqa: PLC0415

    print(asyncio.run(listing()))


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="Id of the key (`key_…`), as listed.")]) -> None:
    """End a key at once, everywhere."""
    from headgate_suite.keys import revoke  # noqa: PLC0415

    asyncio.run(revoke(key_id))
    print(f"{key_id} is revoked.")
