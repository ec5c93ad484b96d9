"""An address on which a process answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from headgate_rpc.server import RpcServer, check_free
from headgate_settings import HostPort


@dataclass(slots=True)
class Listener:
    """`label` is what speaks there, `variable` sets the `wanted` address, `names` are the services that are asked
    there. `address` is the one in use once it is open. `bind` returns the port; `end` takes the seconds that running
    calls may go on."""

    label: str
    wanted: HostPort
    variable: str
    names: tuple[str, ...]
    bind: Callable[[], Awaitable[int]]
    end: Callable[[float], Awaitable[None]]
    address: HostPort = HostPort("", 0)

    async def open(self) -> None:
        """Answer. Raises OSError, in one line that names the variable, when the address cannot be had."""
        try:
            port = await self.bind()
        except OSError as fault:
            raise taken(self.wanted, self.variable) from fault
        self.address = HostPort(self.wanted.host, port)


def taken(address: HostPort, variable: str) -> OSError:
    """What to tell the operator."""
    return OSError(f"{address} is taken; set {variable} to a free address")


def check(address: HostPort, variable: str) -> None:
    """Raises OSError, as `open` does, for an address that cannot be had now: a process that has to wait for others
    before it listens says so at its start."""
    try:
        check_free(str(address))
    except OSError as fault:
        raise taken(address, variable) from fault


@dataclass(frozen=True, slots=True)
class GrpcAddress:
    """Where the process answers gRPC, the variable that says so, and the services that are looked for there."""

    address: HostPort
    variable: str
    services: tuple[str, ...]


def grpc_listener(server: RpcServer, at: GrpcAddress) -> Listener:
    """The listener of a gRPC server that was made for that address."""

    async def bind() -> int:
        await server.start()
        return server.port

    return Listener("gRPC", at.address, at.variable, at.services, bind, server.stop)
