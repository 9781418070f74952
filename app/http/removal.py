"""What every dialect does with a photo: wait for a turn, read the body, have the engine work on it, say what happened.

    with service().turn() as turn:
        with turn.reading():
            upload = ...  # the dialect's own way to read a body
        result = turn.run(image, options)

A dialect brings its own parameters, bodies and answers; its errors are rendered by path (`app.http.errors`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import ClientDisconnected

from app.cache.results import ResultCache
from app.engine.pool import Abandoned, EnginePool
from app.errors import ServiceError
from app.http.admission import Admission, Caller
from app.http.connection import discard_body, hang_up_detector, within_deadline
from app.observability import events, request_ids
from app.removal import RemovalOptions, RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = ["RemovalService", "Turn", "init_app", "service"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A request that has a place in the queue and an upload slot."""

    pool: EnginePool | ResultCache
    abandoned: Callable[[], bool]

    def reading(self) -> AbstractContextManager[None]:
        """Read the body inside; raise RequestTimeout when it has not come by the deadline."""
        return within_deadline(request, g.deadline)

    def run(self, image: bytes, options: RemovalOptions, background_image: bytes = b"") -> RemovalResult:
        """Return the engine's result; raise what `EnginePool.submit` raises."""
        job = RemovalRequest(image, options, background_image, request_ids.current())
        result = self.pool.submit(job, g.deadline, self.abandoned)
        events.succeeded(result, len(image))
        return result


@dataclass(frozen=True, slots=True)
class RemovalService:
    """What all dialects share: the settings, the engines and who may come in."""

    settings: Settings
    pool: EnginePool | ResultCache
    admission: Admission

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Hold a place for the block, from before the body is read to the result; log why it failed when it does.

        Raise QueueFull, ShuttingDown, DeadlineExceeded, or ClientDisconnected when nobody waits for the answer.
        """
        abandoned = hang_up_detector(request)
        caller = Caller(request.remote_addr or "", request.path, request.content_length)
        try:
            with self.admission.place(caller, g.deadline, abandoned):
                yield Turn(self.pool, abandoned)
        except ServiceError as error:
            events.not_done(error)
            raise
        except (Abandoned, ClientDisconnected):
            events.abandoned()
            raise ClientDisconnected from None


def init_app(app: Flask) -> None:
    """Give every request its deadline, and refused ones the time to read their answer."""
    removal: RemovalService = app.extensions["removal"]

    @app.before_request
    def set_deadline() -> None:
        g.deadline = time.monotonic() + removal.settings.request_timeout

    @app.after_request
    def discard_unread_body(response: Response) -> Response:
        if response.status_code >= 400:
            discard_body(request, removal.settings.max_content_length, g.deadline)
        return response


def service() -> RemovalService:
    """Return the service of the current application."""
    removal = current_app.extensions["removal"]
    assert isinstance(removal, RemovalService)  # noqa: S101  # for the type checker
    return removal
