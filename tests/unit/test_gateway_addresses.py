"""The client's address is the socket's, unless the operator's own proxies say otherwise."""

from ipaddress import ip_network

import pytest

from headgate_gateway.addresses import client_address

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("socket", "forwarded", "expected"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "203.0.113.1", "198.51.100.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.9, 203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "203.0.113.1, 10.0.0.2", "203.0.113.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.1, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "[2001:db8::1]", "2001:db8::1"),
        ("", "203.0.113.1", ""),
    ],
)
def test_only_trusted_proxies_are_believed(socket: str, forwarded: str, expected: str) -> None:
    assert client_address(socket, forwarded, PROXIES) == expected


def test_without_proxies_the_header_is_ignored() -> None:
    assert client_address("10.0.0.1", "203.0.113.1", ()) == "10.0.0.1"
