"""Tells every process which principals it must forget."""

from headgate.auth.v1 import auth_pb2
from headgate.watch.v1.watch_pb2 import Position
from headgate_rpc.watch import WatchSource


class Invalidations:
    """The source of WatchCredentials. Call it after the change is stored, never before: a process that
    forgets too early would fetch the old state again."""

    def __init__(self) -> None:
        # Principals never travel on this watch, so it has no items.
        self.source: WatchSource[auth_pb2.Principal] = WatchSource()

    @property
    def position(self) -> Position:
        """Where a follower that has seen everything stands."""
        return self.source.position

    def principal(self, principal_id: str) -> None:
        """Forget this principal."""
        self.source.publish({}, [f"principal/{principal_id}"])

    def account(self, account_id: str) -> None:
        """Forget every principal of this account."""
        self.source.publish({}, [f"account/{account_id}"])
