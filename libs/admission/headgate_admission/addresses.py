"""Client addresses and the ranges they must come from (AUTH-11)."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from headgate_admission.principal import Network, Principal

_MAPPED = "::ffff:"
_ANYWHERE = ((), ())


def subject(address: str) -> str:
    """The address as one bucket's name: an IPv4 caller is one caller, whichever kind of socket took the call."""
    return address.removeprefix(_MAPPED) if "." in address else address


def may_come_from(principal: Principal, address: str) -> bool:
    """Whether both the key's and the account's lists, where not empty, hold the address."""
    lists = (principal.ip_allow_list, principal.account_ip_allow_list)
    if lists == _ANYWHERE:
        return True
    try:
        known = ip_address(subject(address))
    except ValueError:
        return False
    return all(_holds(networks, known) for networks in lists if networks)


def _holds(networks: tuple[Network, ...], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in networks)
