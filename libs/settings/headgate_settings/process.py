"""Variables that a library reads by itself, at its import."""

import os


def prefer(name: str, value: str) -> None:
    """Set a variable of this process unless its owner has set it."""
    os.environ.setdefault(name, value)
