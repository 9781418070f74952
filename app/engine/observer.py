"""Observer of the engines, an interface for metrics; the base class ignores all events."""

from __future__ import annotations

from enum import StrEnum

from app.removal import RemovalRequest, RemovalResult

__all__ = ["EngineObserver", "RestartReason"]


class RestartReason(StrEnum):
    """Reason for the replacement of an engine."""

    TASKS = "tasks"  # processed ENGINE_MAX_TASKS photos
    MEMORY = "memory"  # more than MEMORY_WARN_MB resident between two photos
    KILLED = "killed"  # SIGKILL from outside, such as the kernel's OOM killer
    CRASHED = "crashed"  # any other unexpected end
    DEADLINE = "deadline"  # still busy at the deadline of its request or of decoding
    START = "start"  # ended before its warm-up was answered


class EngineObserver:
    """Methods are called from many threads and must neither raise nor block."""

    def removed(self, request: RemovalRequest, result: RemovalResult) -> None:
        """Record a processed photo."""

    def memory_seen(self, engine: int, megabytes: int) -> None:
        """Record the resident memory of an engine, given by its number; 0 after its end."""

    def replaced(self, reason: RestartReason) -> None:
        """Record the replacement of an engine."""
