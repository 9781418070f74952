"""Admission of a request to the queue: what every dialect does with a photo before and around the engine's work.

    with admitted() as slot:
        upload = ...  # the dialect's own way to read a body
        result = slot.submit(image, options)

A dialect brings its own parameters, bodies and answers; its errors are rendered by path (`app.http.errors`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import Flask, g, request
from werkzeug.exceptions import ClientDisconnected

from app.engine.submission import ClientGone, Deadline, Submitter
from app.errors import ServiceError
from app.http import events, request_ids
from app.http.client_connection import arrival, check_request, hang_up_detector
from app.http.services import services
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = ["Slot", "admitted", "init_app"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Identity of a request before its body is read: a retry after a refusal has the same."""

    address: str
    path: str
    content_length: int | None


@dataclass(frozen=True, slots=True)
class Slot:
    """Place of the current request in the queue, with memory for its body."""

    _submitter: Submitter
    _deadline: Deadline

    def submit(self, image: bytes, options: RemovalOptions, background_image: bytes = b"") -> RemovalResult:
        """Return the engine's result; raise what `Submitter.submit` raises."""
        removal = RemovalRequest(image, options, background_image, request_ids.current())
        result = self._submitter.submit(removal, self._deadline)
        events.succeeded(result, len(image))
        return result


@contextmanager
def admitted() -> Iterator[Slot]:
    """Hold a place for the block, from before the body is read to the result; log its failure.

    Raise QueueFull, ShuttingDown, DeadlineExceeded, or ClientDisconnected when nobody waits for the answer.
    """
    caller = Caller(request.remote_addr or "", request.path, request.content_length)
    deadline = Deadline(g.deadline, hang_up_detector(request))
    try:
        with services().queue.admit(caller, deadline):
            yield Slot(services().submitter, deadline)
    except ServiceError as error:
        events.failed(error)
        raise
    except (ClientGone, ClientDisconnected):
        events.abandoned()
        raise ClientDisconnected from None


def init_app(app: Flask, settings: Settings) -> None:
    """Give every request its deadline, and refuse those that the server could not read."""

    @app.before_request
    def set_deadline() -> None:
        g.deadline = arrival(request) + settings.request_timeout
        check_request(request)
