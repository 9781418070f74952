"""Check of IP addresses: public or not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

__all__ = ["IPAddress", "is_public"]

IPAddress = IPv4Address | IPv6Address

# IANA's special-purpose registries (RFC 6890) without the few globally reachable entries. Listed in full, since
# `is_global` differs between the patch releases of Python 3.11 to 3.13.
_SPECIAL = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network, and unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers (CGNAT, RFC 6598)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # host agent of every machine on Azure, in a public range
        "169.254.0.0/16",  # link-local; metadata service of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments, among them Teredo, which contains an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: contains an IPv4 address
        "3fff::/20",  # documentation (RFC 9637)
    )
)
# Global unicast (RFC 4291). Not in it: loopback, link-local, unique local and multicast addresses, and addresses that
# contain an IPv4 address (mapped, compatible, both prefixes of NAT64: RFC 6052, RFC 8215).
_GLOBAL_UNICAST = ip_network("2000::/3")


def is_public(address: IPAddress) -> bool:
    """Return whether an address is public unicast; False for any IPv6 address that contains an IPv4 address."""
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not any(address in network for network in _SPECIAL)
