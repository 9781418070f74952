"""Watch the client's end of the line, as far as gunicorn shows it: is it still there, does it send in time.

`gunicorn.socket` in the environment is the connection. Under another server nothing is known, and nothing is done.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from flask import Request
from werkzeug.exceptions import ClientDisconnected

from app.errors import RequestTimeout

__all__ = ["discard_body", "hang_up_detector", "within_deadline"]

# Refused bodies that are read to their end at the same time; more would take threads that answer /health.
MOST_DISCARDS = 8
CHUNK = 65_536
_discards = threading.BoundedSemaphore(MOST_DISCARDS)


def _socket_of(request: Request) -> socket.socket | None:
    connection = request.environ.get("gunicorn.socket")
    return connection if isinstance(connection, socket.socket) else None


def hang_up_detector(request: Request) -> Callable[[], bool]:
    """Return a function that tells whether the client has closed the connection, even behind bytes not yet read."""
    connection = _socket_of(request)
    if connection is None or not hasattr(select, "POLLRDHUP"):
        return lambda: False
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    return lambda: bool(poller.poll(0))


@contextmanager
def within_deadline(request: Request, deadline: float) -> Iterator[None]:
    """Read the body inside; raise RequestTimeout when it has not come by `deadline` (monotonic).

    gunicorn reads from a blocking socket, so that one byte a second would hold a thread for ever. Closing the
    receiving half at the deadline ends the read, and still lets the answer out.
    """
    connection = _socket_of(request)
    if connection is None:
        yield
        return
    late = threading.Event()
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _stop_receiving, (connection, late))
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:  # whatever a body that was cut off there looked like
        if late.is_set():
            raise RequestTimeout() from None
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise RequestTimeout()


def _stop_receiving(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)


def discard_body(request: Request, most: int, deadline: float) -> None:
    """Read what the client is still sending, up to `most` bytes and `deadline`, and throw it away.

    A client that is answered while it sends, and whose connection is then closed, sees a broken connection instead of
    the answer.
    """
    stream = request.environ.get("wsgi.input")
    if stream is None or not (request.content_length or request.headers.get("Transfer-Encoding")):
        return
    if not _discards.acquire(blocking=False):
        return
    try:
        with suppress(OSError, RequestTimeout, ClientDisconnected), within_deadline(request, deadline):
            left = most
            while left > 0 and (chunk := stream.read(min(CHUNK, left))):
                left -= len(chunk)
    finally:
        _discards.release()
