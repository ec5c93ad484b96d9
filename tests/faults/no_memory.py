"""A suite that is broken on purpose: it remembers no caller and asks auth about each call."""

import sys
from typing import Any

from headgate_admission.callers import Callers
from headgate_admission.principal import Principal
from headgate_suite.__main__ import main

honest_find = Callers.find
asking: set[object] = set()


async def find_anew(self: Callers, *question: Any) -> Principal:
    if not asking:  # those who wait for an answer must find it
        self._entries.clear()
    ticket = object()
    asking.add(ticket)
    try:
        return await honest_find(self, *question)
    finally:
        asking.remove(ticket)


Callers.known = lambda self, credential: None  # type: ignore[method-assign, assignment]
Callers.find = find_anew  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    sys.argv = ["headgate", *sys.argv[1:]]
    main()
