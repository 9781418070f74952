"""Names of clients in the keys of their counts, and reset of a client's counts in Redis. No Flask."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote

from limits.storage import RedisStorage

from app.redis_link import CLIENT_OPTIONS

__all__ = [
    "PREFIX",
    "address_client",
    "forget",
    "key_client",
    "network",
    "parse_address",
    "possible_clients",
    "storage_uri",
]

# A count's key in Redis is PREFIX:LIMITER/client/endpoint/limit; the second part is Flask-Limiter's.
PREFIX = "background-remover"
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


def storage_uri(url: str) -> str:
    """Return a REDIS_URL in the form of the storage, which has another scheme for Unix sockets."""
    return re.sub("^unix://", "redis+unix://", url)


def forget(url: str, client: str) -> int:
    """Delete the counts of a client in Redis and return their number; raise RedisError."""
    # Its declared type lacks most methods.
    redis: Any = RedisStorage(storage_uri(url), **CLIENT_OPTIONS).get_connection()
    keys = list(redis.scan_iter(match=f"{PREFIX}:LIMITER/{client}/*", count=1000))
    return int(redis.delete(*keys)) if keys else 0


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
