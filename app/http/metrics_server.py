"""The process behind METRICS_PORT: `python -m app.http.metrics_server PID`, where PID is gunicorn's master.

It reads the files that the workers count in, so it answers while every one of their threads is taken, and a scrape
needs no way past the proxy in front of them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from flask import Flask, Response
from werkzeug.middleware.proxy_fix import ProxyFix

from app.http import errors, metrics, security
from app.observability import logs, multiproc, request_ids
from app.settings import Settings, load_settings

__all__ = ["create_metrics_app", "make_metrics_server"]

PR_SET_PDEATHSIG = 1
# Connections that are answered at the same time, and seconds that one may keep silent.
MOST_CONNECTIONS, SILENT_SECONDS = 16, 10
# In place of the versions of wsgiref and Python.
SERVER_NAME = "metrics"


def main(owner: int) -> None:
    """Serve METRICS_PORT for as long as the process `owner` lives."""
    _live_only_with(owner)
    settings = load_settings()
    logs.configure(settings)
    folder = multiproc.shared_folder()
    if folder is None or settings.metrics_port is None:
        sys.exit(f"METRICS_PORT and {multiproc.FOLDER_VARIABLE} must be set")
    make_metrics_server(settings, folder).serve_forever()


def create_metrics_app(settings: Settings, folder: Path) -> Flask:
    """Build an application that has /metrics and nothing else."""
    app = Flask(__name__, static_folder=None)
    app.debug = False
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    request_ids.init_app(app)
    security.init_app(app, settings)
    errors.init_app(app)
    metrics.init_app(app, settings, lambda: multiproc.exposition(folder))
    app.after_request(_hide_versions)
    return app


def _hide_versions(response: Response) -> Response:
    response.headers["Server"] = SERVER_NAME
    return response


def make_metrics_server(settings: Settings, folder: Path) -> WSGIServer:
    """Bind METRICS_PORT of HOST."""
    kind = _Server6 if ":" in settings.host else _Server
    server = kind((settings.host, settings.metrics_port or 0), _Handler)
    server.set_app(create_metrics_app(settings, folder))
    return server


class _Server(ThreadingMixIn, WSGIServer):
    """Answer each connection in a thread, as long as there are few."""

    daemon_threads = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as HTTPServer would."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or close it."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = SILENT_SECONDS

    def get_environ(self) -> dict[str, Any]:
        """Give the application what WSGI asks for; `X_Forwarded_For` must not look like the header of a proxy."""
        for name in [name for name in self.headers if "_" in name]:
            del self.headers[name]
        return super().get_environ()

    def version_string(self) -> str:
        """Return what errors of the protocol itself carry as Server."""
        return SERVER_NAME

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape every few seconds is no news."""


def _live_only_with(owner: int) -> None:
    """Close what the owner left open in us, such as its listening sockets, and die with it (prctl(2))."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:  # it died before the line above
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
