"""Who is asking: the address that counts, and whether it was forwarded."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from flask import Request

from app.limits import network, parse_address

__all__ = ["client_address", "client_network", "was_forwarded"]

# Any of these says that the address of the connection is that of a proxy.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


def client_address(request: Request) -> IPv4Address | IPv6Address | None:
    """Return the client's address, None when it has none (a Unix socket).

    Headers are believed only as far as TRUSTED_PROXIES says: Werkzeug's ProxyFix has put that into `remote_addr`.
    """
    return parse_address(request.remote_addr or "")


def client_network(request: Request) -> str:
    """Return the address or network of the client that a request counts for; a Unix socket's is "local"."""
    return network(request.remote_addr or "local")


def was_forwarded(request: Request) -> bool:
    """Tell whether a proxy has passed the request on; such a request is never loopback."""
    return any(name in request.headers for name in FORWARDED)
