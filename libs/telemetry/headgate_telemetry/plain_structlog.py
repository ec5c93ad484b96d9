"""structlog without rich.

structlog imports rich and pygments for its console renderer when it finds them (the command line uses rich):
130 ms of start and several MB in a service that only writes JSON. This is the place to import structlog from.
"""

import sys

_absent = [name for name in ("rich",) if name not in sys.modules]
for _name in _absent:
    # None in sys.modules makes `import` raise ImportError, which structlog expects.
    sys.modules[_name] = None  # type: ignore[assignment]
try:
    import structlog
finally:
    for _name in _absent:
        del sys.modules[_name]

__all__ = ["structlog"]
