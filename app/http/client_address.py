"""Address of the client, and detection of proxies."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from flask import Request

from app.clients import network, parse_address

__all__ = ["client_address", "client_network", "was_forwarded"]

# With any of these headers, the connection comes from a proxy.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


def client_address(request: Request) -> IPv4Address | IPv6Address | None:
    """Return the client's address, None for a Unix socket.

    `remote_addr` is set by Werkzeug's ProxyFix, which trusts as many proxies as TRUSTED_PROXIES.
    """
    return parse_address(request.remote_addr or "")


def client_network(request: Request) -> str:
    """Return the address or network by which a client is counted; "local" for a Unix socket."""
    return network(request.remote_addr or "local")


def was_forwarded(request: Request) -> bool:
    """Return whether a proxy has forwarded the request."""
    return any(name in request.headers for name in FORWARDED)
