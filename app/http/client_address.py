"""Address of the client, and detection of proxies."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from flask import Request

from app.clients import network, parse_address

__all__ = ["client_address", "client_network", "is_exempt", "was_forwarded"]

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


def is_exempt(request: Request, networks: Iterable[IPv4Network | IPv6Network], *, trusts_proxies: bool) -> bool:
    """Return whether the client is in one of these networks, and not a proxy that hides others.

    Loopback addresses are never those of clients of a proxy; others are with TRUSTED_PROXIES.
    """
    address = client_address(request)
    if address is None or not any(address in network for network in networks):
        return False
    return _is_direct(request) if address.is_loopback else trusts_proxies or not was_forwarded(request)


def _is_direct(request: Request) -> bool:
    """Return whether a request from loopback is from a client on this machine.

    A proxy that adds no header sends the host that its client has asked for, or HTTP/1.0 (nginx without settings).
    """
    if was_forwarded(request) or request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        return False
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
