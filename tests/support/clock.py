"""Time for code that takes a clock."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Clock"]


@dataclass
class Clock:
    """Clock that a test sets."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now
