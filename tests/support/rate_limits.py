"""Clock and headers of rate limits."""

from __future__ import annotations

from werkzeug.test import TestResponse

__all__ = ["Clock", "left"]


class Clock:
    """Clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.25
        self._behind = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now + self._behind

    def set_back(self, seconds: float) -> None:
        self.now -= seconds
        self._behind += seconds


def left(response: TestResponse) -> tuple[str, str]:
    return response.headers["X-RateLimit-Limit"], response.headers["X-RateLimit-Remaining"]
