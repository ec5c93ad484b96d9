"""A suite that is broken on purpose: it remembers no caller and asks auth about each call."""

import sys
from typing import Any

from headgate_admission.callers import Callers
from headgate_admission.principal import Principal
from headgate_suite.__main__ import main

honest_find = Callers.find


async def find_anew(self: Callers, *question: Any) -> Principal:
    self._entries.clear()
    return await honest_find(self, *question)


Callers.known = lambda self, credential: None  # type: ignore[method-assign, assignment]
Callers.find = find_anew  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    sys.argv = ["headgate", *sys.argv[1:]]
    main()
