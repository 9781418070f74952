"""Receiver of webhooks on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from app.fetch.url_fetcher import UrlFetcher
from app.settings import Settings

__all__ = ["Receiver", "loopback_fetcher", "receiver"]

HOST = "hooks.example"


@dataclass
class Receiver:
    """Received requests, and the statuses of the next answers; then 204."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/hook") -> str:
        """Return the URL of a path, with a host name that `loopback_fetcher` knows."""
        return f"http://{HOST}:{self.port}{path}"


@contextmanager
def receiver(*statuses: int) -> Iterator[Receiver]:
    """Serve until the block ends; paths in `silent` are never answered."""
    found = Receiver(statuses=list(statuses))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, dict(self.headers), body))
            if self.path in found.silent:
                found.over.wait(300)
                return
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield found
        finally:
            found.over.set()
            server.shutdown()


def loopback_fetcher(port: int, **settings: Any) -> UrlFetcher:
    """Return a fetcher that takes loopback for the internet."""
    return UrlFetcher(
        Settings(allowed_url_hosts=(f"{HOST}:{port}",), **settings),
        resolve=lambda host: ["127.0.0.1"],
        is_public=lambda address: address.is_loopback,
    )
