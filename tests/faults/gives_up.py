"""A suite that is broken on purpose: what another service pushes must be there at once, or the process ends."""

import os
import sys
from typing import Any

from headgate_rpc.watcher import Watcher
from headgate_suite.__main__ import main


async def follow_or_die(self: Watcher[Any]) -> None:
    try:
        await self._follow()
    finally:
        os._exit(1)


Watcher.run = follow_or_die  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv = ["headgate", *sys.argv[1:]]
    main()
