"""Identity of clients: their addresses, networks and API keys, as rate limits count them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote

__all__ = ["address_client", "key_client", "network", "parse_address", "possible_clients"]

_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}", re.ASCII)


def key_client(name: str) -> str:
    """Return the name of the client with an API key."""
    return f"key:{quote(name, safe='')}"


def address_client(network: str) -> str:
    """Return the name of the client at an IPv4 address, or in the IPv6 network of one subscriber."""
    return f"ip:{quote(network, safe='')}"


def possible_clients(text: str) -> list[str]:
    """Return the clients that an operator may mean: the API key of this name, and the address or its network."""
    return [key_client(text), address_client(network(text))]


def network(text: str) -> str:
    """Return a client's network: an IPv4 address, or the /64 of an IPv6 subscriber; any other text unchanged."""
    address = parse_address(text.partition("/")[0])
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text if address is None else str(address)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in a text, IPv4-mapped ones as IPv4; None for anything else.

    Some proxies add a port: `198.51.100.9:50123`, `[2001:db8::1]:50123` (RFC 7239, 6).
    """
    match = _WITH_PORT.fullmatch(text)
    bare = (match[1] or match[2]) if match else text
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
