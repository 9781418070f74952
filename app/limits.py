"""Names of clients in the keys of their counts, and reset of a client's counts in Redis. No Flask."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote

from limits.storage import RedisStorage

from app.redis_link import CLIENT_OPTIONS

__all__ = ["PREFIX", "address_client", "forget", "key_client", "network", "possible_clients", "storage_uri"]

# A count's key in Redis is PREFIX:LIMITER/client/endpoint/limit; the second part is Flask-Limiter's.
PREFIX = "background-remover"


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
    try:
        address = ip_address(text.partition("/")[0].partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
    return str(address)
