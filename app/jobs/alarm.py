"""Log of failures that repeat: one line when they begin, one when they end."""

from __future__ import annotations

import logging

__all__ = ["Alarm"]

log = logging.getLogger("app.jobs")


class Alarm:
    """State of a part of jobs; `problem` is for operators, empty while the part works."""

    def __init__(self, part: str) -> None:
        self._part = part
        self.problem = ""

    def report(self, problem: str, error: BaseException | None = None) -> None:
        """Record a failure; log it, with the traceback of an unexpected error, unless it is the last one again."""
        if problem != self.problem:
            log.error("jobs.unavailable part=%s %s", self._part, problem, exc_info=error)
        self.problem = problem

    def clear(self) -> None:
        """Record a success; log it if it is the first after a failure."""
        if self.problem:
            log.info("jobs.available part=%s", self._part)
        self.problem = ""
