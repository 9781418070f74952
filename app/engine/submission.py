"""Submission of a photo: how long its caller waits, how urgent it is, and what takes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from app.errors import DeadlineExceeded
from app.removal import RemovalRequest, RemovalResult

__all__ = ["POLL_SECONDS", "ClientGone", "Deadline", "Priority", "Submitter"]

# Interval, in seconds, at which a waiting caller is checked: is it late, has its client hung up.
POLL_SECONDS = 0.25


class ClientGone(Exception):
    """The client has closed its connection, so nobody waits for the result."""


class Priority(IntEnum):
    """Urgency of a photo: while an interactive one waits, no engine takes a batch's."""

    INTERACTIVE = 0
    BATCH = 1


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Deadline:
    """End of a caller's wait: `at` (monotonic seconds), or as soon as `client_gone()` is true."""

    at: float
    client_gone: Callable[[], bool] = _never

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return a deadline so many seconds from now."""
        return cls(time.monotonic() + seconds)

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
    """Anything that turns a request into its result: the engine pool, or the result cache in front of it."""

    def submit(
        self, request: RemovalRequest, deadline: Deadline, priority: Priority = Priority.INTERACTIVE
    ) -> RemovalResult:
        """Return the result; raise a ServiceError, or ClientGone while the request waits."""
