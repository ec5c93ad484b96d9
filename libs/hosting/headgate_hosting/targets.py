"""gRPC names of services (gRPC Name Resolution, https://grpc.github.io/grpc/core/md_doc_naming.html)."""

import re
from ipaddress import ip_address

_SCHEME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):(.*)", re.DOTALL)
_UNIX = ("unix", "unix-abstract")


def problem_of(target: str) -> str:
    """What is wrong with a target, in words that complete `'<target>' …`; empty when nothing is."""
    scheme, addresses = _split(target)
    if any(character.isspace() for character in target):
        return "holds a space"
    if scheme in _UNIX or scheme in {"xds", "vsock"}:
        return "" if addresses[0] else "names nothing"
    if not all(_port_of(address) for address in addresses):
        return "lacks a port, as in 127.0.0.1:50051"
    return ""


def is_on_this_machine(target: str) -> bool:
    """Whether all addresses of a target are loopback or unix sockets."""
    scheme, addresses = _split(target)
    return scheme in _UNIX or (
        scheme in {"", "dns", "ipv4", "ipv6"} and all(_is_loopback(address) for address in addresses)
    )


def _split(target: str) -> tuple[str, list[str]]:
    match = _SCHEME.fullmatch(target)
    if match is None:
        return "", [target]
    scheme, rest = match.groups()
    if scheme == "dns":
        # `dns://authority/host:port`; the authority says whom to ask, not where the service is.
        return scheme, [rest.rpartition("/")[2]]
    return scheme, rest.split(",") if scheme in {"ipv4", "ipv6"} else [rest]


def _port_of(address: str) -> int:
    host, _, port = address.rpartition(":")
    return int(port) if host and port.isascii() and port.isdigit() and int(port) < 65536 else 0


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        # The unspecified address, where a service listens on all of them, leads a client to this machine.
        return host == "localhost" or ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return False
