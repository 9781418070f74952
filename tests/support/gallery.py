"""Web page with an image that is shown only to visitors with its cookie."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["gallery"]

PAGE = b'<!doctype html><html lang="en"><title>Gallery</title><img src="/photo.jpg" alt="A cup of coffee">'


class _Gallery(BaseHTTPRequestHandler):
    photo = b""

    def do_GET(self) -> None:
        """Answer with the page, which sets the cookie, or with the image."""
        if self.path == "/":
            self._answer(200, "text/html", PAGE)
        elif self.path == "/photo.jpg" and "visitor=yes" in self.headers.get("Cookie", ""):
            self._answer(200, "image/jpeg", self.photo)
        else:
            self._answer(403, "text/plain", b"no cookie")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "visitor=yes; SameSite=Lax")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def gallery(photo: bytes) -> Iterator[int]:
    """Serve the page on loopback; yield the port."""
    handler = type("Gallery", (_Gallery,), {"photo": photo})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
