"""A suite that is broken on purpose: calls do not share the question who a caller is."""

import asyncio
import sys
from typing import Any

from headgate_admission.callers import Callers
from headgate_suite.__main__ import main


def flight_of_its_own(self: Callers, *question: Any) -> "asyncio.Task[Any]":
    return asyncio.create_task(self._question(*question))


Callers._flight = flight_of_its_own  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    sys.argv = ["headgate", *sys.argv[1:]]
    main()
