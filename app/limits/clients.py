"""Names of those whose requests are counted, as they stand in the storage's keys."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

__all__ = ["address_client", "key_client", "possible_clients"]


def key_client(name: str) -> str:
    """Return the client that an API key is."""
    return f"key:{quote(name, safe='')}"


def address_client(network: str) -> str:
    """Return the client that an IPv4 address is, or the network of one IPv6 subscriber."""
    return f"ip:{quote(network, safe='')}"


def possible_clients(text: str) -> list[str]:
    """Return whom an operator may mean: the API key of this name, the address, the network that it lies in."""
    return [key_client(text), address_client(_network(text))]


def _network(text: str) -> str:
    try:
        address = ip_address(text.partition("/")[0].partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
    return str(address)
