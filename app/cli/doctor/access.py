"""Check of access: a service on a public address needs API keys."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import psutil

from app.cli.doctor.findings import Finding, Level
from app.settings import Settings

__all__ = ["check_access"]


def check_access(settings: Settings) -> Finding:
    """Fail if everybody on the internet may send photos."""
    if settings.api_keys or settings.api_keys_file:
        return Finding(Level.OK, "access", "with API keys")
    public = [address for address in _listening_addresses(settings.host) if ip_address(address).is_global]
    if public:
        found = f"no API key is needed, and {', '.join(public)} is a public address"
        return Finding(Level.FAIL, "access", found, "Set API_KEYS or API_KEYS_FILE, or set HOST to a private address.")
    return Finding(Level.OK, "access", f"without API keys; {settings.host} has no public address")


def _listening_addresses(host: str) -> Iterator[str]:
    """Yield the addresses of this machine on which a service with this HOST listens."""
    families = {"0.0.0.0": {socket.AF_INET}, "::": {socket.AF_INET, socket.AF_INET6}}.get(host)  # noqa: S104
    if families is None:
        yield from _resolved(host)
        return
    for interface in psutil.net_if_addrs().values():
        yield from (address.address.partition("%")[0] for address in interface if address.family in families)


def _resolved(host: str) -> list[str]:
    try:
        return [str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError:  # reported by the check of the port
        return []
