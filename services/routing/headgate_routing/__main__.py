"""Routing in a process of its own."""

from headgate_settings.process import prefer_lean_grpc


def main() -> None:
    """Serve until a signal."""
    prefer_lean_grpc()
    from headgate_hosting.command import serve_alone  # noqa: PLC0415
    from headgate_routing.hosted import SERVICE  # noqa: PLC0415

    serve_alone(SERVICE)


if __name__ == "__main__":
    main()
