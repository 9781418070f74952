"""Job: one queued request, completed by an engine's keeper and awaited by the submitting thread."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from app.engine.models import affinity
from app.engine.submission import Deadline, Outcome, Priority
from app.errors import EngineCrashed, ServiceError
from app.removal import RemovalRequest, RemovalResult

__all__ = ["Job"]


class Job:
    """A request for an engine, and its outcomes, one for each of the request's options."""

    def __init__(self, request: RemovalRequest, deadline: Deadline, priority: Priority) -> None:
        self.request = request
        self.deadline = deadline
        self.priority = priority
        self.submitted = time.monotonic()
        self.started = self.submitted
        self.handovers = 0
        self.retried = False
        self.done = threading.Event()
        self.seconds = 0.0
        self.outcomes: list[Outcome | None] = [None] * len(request.all_options)
        self.error: ServiceError | None = None

    @property
    def model(self) -> str:
        """Return the model that the request names."""
        return self.request.options.model

    @property
    def affinity(self) -> str:
        """Return the group of models that an engine must hold for this job."""
        return affinity(self.model)

    def may_retry(self) -> bool:
        """Return whether another engine may process the job: once, if the time used so far is left once more."""
        return not self.retried and self.deadline.seconds_left >= time.monotonic() - self.started

    def spent_in_engine(self) -> bool:
        """Return whether the job spent at least half of its time in the engine, not in the queue."""
        return self.deadline.at - self.started >= (self.deadline.at - self.submitted) / 2

    def answer(self, outcome: Outcome, number: int = 0) -> None:
        """Set an outcome; results get the time in the queue as their first stage."""
        if isinstance(outcome, RemovalResult):
            waited = round((self.started - self.submitted) * 1000, 2)
            outcome = replace(outcome, stages_ms={"queue": waited, **outcome.stages_ms})
        self.outcomes[number] = outcome
        if None not in self.outcomes:
            self.seconds = time.monotonic() - self.started
            self.done.set()

    def fail(self, error: ServiceError) -> None:
        """Set the error of an unfinished job."""
        self.error = error
        self.done.set()

    def outcome(self) -> RemovalResult:
        """Return the result of a finished job with one result, or raise its error, EngineCrashed without one."""
        outcome = self.error or self.outcomes[0] or EngineCrashed()
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome
