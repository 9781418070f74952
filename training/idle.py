"""Idle priority, and pauses: training runs for hours beside other work."""

from __future__ import annotations

import logging
import os
import signal
import time
from types import FrameType

__all__ = ["Control", "Stopped", "take_idle_priority"]

log = logging.getLogger(__name__)

NICENESS = 19
# Interval in seconds between checks of a paused run.
POLL_SECONDS = 0.2


def take_idle_priority() -> None:
    """Give way to every other process; call before threads start, since threads inherit the priority.

    Linux has a scheduling class for this; elsewhere the niceness alone applies.
    """
    os.nice(max(0, NICENESS - os.nice(0)))
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class Stopped(Exception):
    """SIGTERM or SIGINT has arrived."""


class Control:
    """Pause and resume at SIGUSR1, stop at SIGTERM and SIGINT, at the next call of `check`."""

    def __init__(self) -> None:
        self.paused = False
        self.stopping = False

    def install(self) -> None:
        """Handle the signals."""
        signal.signal(signal.SIGUSR1, self._toggle)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def check(self) -> None:
        """Return at once, or after a pause; raise Stopped."""
        if self.paused and not self.stopping:
            log.info("Paused; SIGUSR1 resumes process %d", os.getpid())
            while self.paused and not self.stopping:  # a signal between a test and a wait would be lost
                time.sleep(POLL_SECONDS)
            log.info("Resumed" if not self.stopping else "Stopped during the pause")
        if self.stopping:
            raise Stopped

    def _toggle(self, _signal: int, _frame: FrameType | None) -> None:
        self.paused = not self.paused

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True
