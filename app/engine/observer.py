"""Observer of the engines: the interface by which metrics learn of their work; the base class ignores it."""

from __future__ import annotations

from enum import StrEnum

from app.removal import RemovalRequest, RemovalResult

__all__ = ["EngineObserver", "RestartReason"]


class RestartReason(StrEnum):
    """Reason for which an engine is replaced."""

    TASKS = "tasks"  # it has worked on ENGINE_MAX_TASKS photos
    MEMORY = "memory"  # it kept more than MEMORY_WARN_MB between two photos
    KILLED = "killed"  # SIGKILL from outside, such as the kernel's when memory runs out
    CRASHED = "crashed"  # any other end of its own
    DEADLINE = "deadline"  # it hung, or was still at work when its request's time was over
    START = "start"  # it never became ready


class EngineObserver:
    """Called from many threads; must neither raise nor block."""

    def removed(self, request: RemovalRequest, result: RemovalResult) -> None:
        """Record a photo that was processed."""

    def memory_seen(self, engine: int, megabytes: int) -> None:
        """Record the resident memory of the engine of this number, 0 once it has ended."""

    def replaced(self, reason: RestartReason) -> None:
        """Record an engine that has ended and is about to be replaced."""
