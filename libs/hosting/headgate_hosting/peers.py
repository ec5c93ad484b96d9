"""The other services, as one process reaches them."""

from collections.abc import Callable, Collection

from headgate_rpc.channel import Channel
from headgate_rpc.grpc_channel import GrpcChannel
from headgate_rpc.grpc_options import CHANNEL_OPTIONS, INFERENCE_OPTIONS
from headgate_rpc.inproc import InprocChannel
from headgate_rpc.thread_channel import ThreadChannel
from headgate_settings import Secret


class Peers:
    """One channel for each service: a function call to those hosted here, gRPC to the others at their `target`."""

    def __init__(
        self, here: InprocChannel, hosted: Collection[str], target: Callable[[str], str], secret: Secret
    ) -> None:
        self._here = here
        self._hosted = frozenset(hosted)
        self._target = target
        self._secret = secret
        self._away: dict[str, GrpcChannel] = {}

    def channel(self, service: str) -> Channel:
        """The channel to a service; it need not be there yet."""
        return self._here if service in self._hosted else self._remote(service)

    def are_here(self, *services: str) -> bool:
        """Whether all of these are part of this process."""
        return self._hosted.issuperset(services)

    def thread_channel(self, service: str) -> ThreadChannel | None:
        """A connection to a service of another process for a thread's own use; None for one hosted here."""
        return None if self.are_here(service) else ThreadChannel(self._target(service), self._secret)

    def reachable(self, service: str) -> bool:
        """Whether a call to a service would find somebody now."""
        return service in self._hosted or self._remote(service).reachable

    async def close(self) -> None:
        """Let go of the connections."""
        for channel in self._away.values():
            await channel.close()

    def _remote(self, service: str) -> GrpcChannel:
        found = self._away.get(service)
        if found is None:
            options = INFERENCE_OPTIONS if service == "inference" else CHANNEL_OPTIONS
            found = self._away[service] = GrpcChannel(self._target(service), self._secret, options)
        return found
