"""Who is at the other end of a connection, seen past the operator's own proxies (AUTH-11)."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def client_address(socket_address: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """The caller's address: of the hops `X-Forwarded-For` names, the nearest that is no trusted proxy. An outsider's
    header is not believed, and neither is anything left of an entry that is not an address."""
    if not proxies or not forwarded_for or not _within(_parse(socket_address), proxies):
        return socket_address
    nearest = socket_address
    for hop in reversed(forwarded_for.split(",")):
        address = _parse(hop.strip())
        if address is None:
            break
        nearest = str(address)
        if not _within(address, proxies):
            break
    return nearest


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def _within(address: IPv4Address | IPv6Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)
