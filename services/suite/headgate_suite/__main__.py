"""Entry point of the command `headgate`."""

from headgate_settings.process import prefer_lean_grpc


def main() -> None:
    """Run the command line."""
    prefer_lean_grpc()
    from headgate_suite.cli import run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
