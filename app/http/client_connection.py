"""State of the client's connection, as far as the server shows it.

`gunicorn.socket` in the environment is the connection. Under another server nothing is known, and nothing is done.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from flask import Request

from app.errors import ServiceError
from app.server.environ import ARRIVAL, CONTINUE, ERROR

__all__ = ["arrival", "check_request", "hang_up_detector", "pauses_between_pieces"]


def arrival(request: Request) -> float:
    """Return when the request's head had come (monotonic); now, where the server doesn't tell."""
    return float(request.environ.get(ARRIVAL, time.monotonic()))


def pauses_between_pieces(request: Request) -> bool:
    """Return whether the server observes the pause of each piece of an answer (`app.server.flush`)."""
    return ARRIVAL in request.environ


def check_request(request: Request) -> None:
    """Raise the server's own refusal of a request that is malformed or came too slowly."""
    error = request.environ.get(ERROR)
    if isinstance(error, ServiceError):
        raise error


def hang_up_detector(request: Request) -> Callable[[], bool]:
    """Return a function that returns whether the client has closed the connection, even behind bytes not yet read.

    A client that closes only its sending half still reads its answer, but looks the same at first. An interim answer,
    which clients of HTTP/1.1 ignore (RFC 9110, 15.2), tells them apart: a closed connection resets.
    """
    connection = request.environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket) or not hasattr(select, "POLLRDHUP"):
        return lambda: False
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    may_probe = ["once"] if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1" else []

    def gone() -> bool:
        events = sum(event for _, event in poller.poll(0))
        if events & select.POLLRDHUP and may_probe:
            may_probe.clear()
            with suppress(OSError):
                connection.send(CONTINUE)
        return bool(events & (select.POLLERR | select.POLLHUP))

    return gone
