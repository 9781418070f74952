"""Job: one request in the queue, filled in by an engine's keeper, awaited by the thread that submitted it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from app.engine.submission import Deadline, Priority
from app.errors import EngineCrashed, ServiceError
from app.removal import RemovalRequest, RemovalResult

__all__ = ["Job"]


class Job:
    """A request on its way to an engine, and what became of it."""

    def __init__(self, request: RemovalRequest, deadline: Deadline, priority: Priority) -> None:
        self.request = request
        self.deadline = deadline
        self.priority = priority
        self.submitted = time.monotonic()
        self.started = self.submitted
        self.handovers = 0
        self.done = threading.Event()
        self.seconds = 0.0
        self._result: RemovalResult | None = None
        self._error: ServiceError | None = None

    @property
    def model(self) -> str:
        """Return the model that the request names."""
        return self.request.options.model

    @property
    def images(self) -> tuple[bytes, bytes]:
        """Return the photo and its background, as the quarantine counts them."""
        return self.request.image, self.request.background_image

    def spent_in_engine(self) -> bool:
        """Return whether most of its time went by in the engine rather than in the queue."""
        return self.deadline.at - self.started >= (self.deadline.at - self.submitted) / 2

    def succeed(self, result: RemovalResult) -> None:
        """Set the result, with the time in the queue as its first stage."""
        waited = round((self.started - self.submitted) * 1000, 2)
        self.seconds = time.monotonic() - self.started
        self._result = replace(result, stages_ms={"queue": waited, **result.stages_ms})
        self.done.set()

    def fail(self, error: ServiceError) -> None:
        """Set the reason why there is no result."""
        self._error = error
        self.done.set()

    def outcome(self) -> RemovalResult:
        """Return the result of a job that is done, or raise its error."""
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise EngineCrashed()
        return self._result
