"""Fetches from servers on loopback, with a resolver and a definition of "public" of the tests.

127.0.0.1 stands for the internet, every other address for the private network. A fetch without a limit would be a test
that never ends.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.fetch.addresses import IPAddress
from app.fetch.url_fetcher import UrlFetcher
from app.settings import Settings
from tests.support.scripted_server import Script, serving

__all__ = [
    "HEAD",
    "IMAGE",
    "INSIDE",
    "MAX_BYTES",
    "REDIRECT",
    "Names",
    "fetch",
    "fetcher",
    "is_internet",
    "silent",
    "soon",
]

MAX_BYTES = 100_000
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(5000)
INSIDE = "127.0.0.2"
REDIRECT = "302 Found"
HEAD = b"HTTP/1.1 200 OK\r\n"


def is_internet(address: IPAddress) -> bool:
    return str(address) == "127.0.0.1"


class Names:
    """Resolver of some names that records its look-ups."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = {name.replace("_", "."): found for name, found in addresses.items()}
        self.looked_up: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.looked_up.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.addresses[host]


def fetcher(*ports: int, names: Callable[[str], Sequence[str]] | None = None, **options: Any) -> UrlFetcher:
    hosts = ("img.example", "other.example", "inside.example", INSIDE)
    allowed = tuple(f"{host}:{port}" for host in hosts for port in ports)
    known = names or Names(img_example=["127.0.0.1"], other_example=["127.0.0.1"], inside_example=[INSIDE])
    defaults: dict[str, Any] = {"resolve": known, "is_public": is_internet}
    return UrlFetcher(
        Settings(allow_url_fetch=True, max_image_bytes=MAX_BYTES, allowed_url_hosts=allowed), **defaults | options
    )


def fetch(script: Script | bytes, path: str = "/a.png", within: float = 300, **options: Any) -> bytes:
    with serving(script) as (port, _):
        return fetcher(port, **options).fetch(f"http://img.example:{port}{path}", time.monotonic() + within)


def soon() -> float:
    return time.monotonic() + 300


def silent(connection: socket.socket) -> None:
    connection.recv(1)
