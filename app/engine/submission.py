"""Submission of a request: deadline, priority, and the interface that accepts it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from app.errors import DeadlineExceeded, ServiceError
from app.removal import RemovalRequest, RemovalResult

__all__ = ["POLL_SECONDS", "BatchSubmitter", "ClientGone", "Deadline", "Outcome", "Priority", "Submitter"]

Outcome = RemovalResult | ServiceError

# Interval, in seconds, between two checks of a waiting caller's deadline and client.
POLL_SECONDS = 0.25


class ClientGone(Exception):
    """The client has closed its connection, so the result is not needed."""


class Priority(IntEnum):
    """Priority of a request: no engine takes a batch request while an interactive one waits."""

    INTERACTIVE = 0
    BATCH = 1


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Deadline:
    """End of a caller's wait: at `at` (monotonic seconds), or when `client_gone()` is true.

    With `engine_seconds` the wait for an engine has no limit, and the engine has this time for each result.
    """

    at: float
    client_gone: Callable[[], bool] = _never
    engine_seconds: float | None = None

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return a deadline in `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def from_start(cls, seconds: float, stopped: Callable[[], bool] = _never) -> Deadline:
        """Return a deadline that starts when an engine starts a result; `stopped()` ends the wait for an engine."""
        return cls(math.inf, stopped, seconds)

    def in_engine(self) -> float:
        """Return when, in monotonic seconds, an engine must have finished a result that it starts now."""
        return self.at if self.engine_seconds is None else time.monotonic() + self.engine_seconds

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the deadline, negative once it has passed."""
        return self.at - time.monotonic()

    def wait(self, ready: Callable[[float], bool], late: str) -> None:
        """Wait until `ready(timeout)`, which blocks for `timeout` seconds at most, returns true.

        Raise DeadlineExceeded with the details `late`, or ClientGone.
        """
        while not ready(POLL_SECONDS):
            if self.seconds_left <= 0:
                raise DeadlineExceeded(details=late)
            if self.client_gone():
                raise ClientGone


class Submitter(Protocol):
    """Interface of the engine pool, and of the result cache in front of it, for interactive requests."""

    def submit(self, request: RemovalRequest, deadline: Deadline) -> RemovalResult:
        """Return the result; raise a ServiceError, or ClientGone while the request waits."""


class BatchSubmitter(Protocol):
    """Interface of the engine pool for batch requests."""

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[Outcome]:
        """Return the result or the error for each of a request's options; raise ClientGone while the request waits."""
