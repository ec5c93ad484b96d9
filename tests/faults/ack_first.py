"""A suite that is broken on purpose: it answers first and writes its journal a second later. The kill tests
must find out. Takes the arguments of `headgate`, none for `up`."""

import asyncio
import sys

from headgate.metering.v1.metering_pb2 import UsageEvent
from headgate_journal import Journal
from headgate_suite.__main__ import main

honest_append = Journal.append


def append_later(self: Journal, event: UsageEvent) -> int:
    copy = UsageEvent()
    copy.CopyFrom(event)
    asyncio.get_running_loop().call_later(1.0, honest_append, self, copy)
    return 0


Journal.append = append_later  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv = ["headgate", *(sys.argv[1:] or ["up"])]
    main()
