"""A real gunicorn with the worker of app/server and an application of streams: its configuration, and the application.

`gunicorn -c python:tests.support.streaming_server tests.support.streaming_server:application`, with HOST and PORT.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any

from app.server.flush import Flush
from app.server.worker import ConnectionWorker

__all__ = ["ARGUMENTS", "LARGE", "application"]

MODULE = "tests.support.streaming_server"
ARGUMENTS = {"application": f"{MODULE}:application", "GUNICORN_CMD_ARGS": f"-c python:{MODULE}"}
LARGE, PIECE, EVENT_SECONDS = 300_000_000, 60_000, 3600.0


class StreamingWorker(ConnectionWorker):
    """Worker with one route of streamed bodies."""

    max_body = 1_000_000
    max_buffered = 4_000_000
    request_timeout = 60.0
    streamed = MappingProxyType({("POST", "/upload"): 2 * LARGE})


bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '0')}"
worker_class = StreamingWorker
threads = 8
graceful_timeout = int(os.environ.get("GRACE", "3600"))
control_socket_disable = True


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Count an uploaded body, send LARGE zeros, or send events without end."""
    start_response("200 OK", [("X-Accel-Buffering", "no"), ("Content-Type", "text/event-stream")])
    routes: dict[str, Callable[[dict[str, Any]], Iterable[bytes]]] = {
        "/upload": _size,
        "/zeros": _zeros,
        "/events": _events,
    }
    return routes.get(environ["PATH_INFO"], _ready)(environ)


def _ready(_environ: dict[str, Any]) -> Iterable[bytes]:
    return [b"ready"]


def _size(environ: dict[str, Any]) -> Iterable[bytes]:
    size = 0
    while piece := environ["wsgi.input"].read(PIECE):
        size += len(piece)
    return [str(size).encode()]


def _zeros(_environ: dict[str, Any]) -> Iterator[bytes]:
    return (bytes(PIECE) for _ in range(0, LARGE, PIECE))


def _events(_environ: dict[str, Any]) -> Iterator[bytes]:
    while True:
        yield Flush(b"data: now\n\n", EVENT_SECONDS)
