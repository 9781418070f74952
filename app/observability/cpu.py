"""CPU time of a web worker and its engines."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psutil

__all__ = ["CpuClock"]


class CpuClock:
    """CPU seconds of this process and others, between two readings."""

    def __init__(self) -> None:
        self._seen: dict[psutil.Process, float] = {}  # equal only for the same process id and start time

    def advance(self, pids: Sequence[int]) -> float:
        """Return the seconds used since the last call; a new process counts from its start.

        What a process uses after its last reading is not counted.
        """
        before, self._seen = self._seen, dict(filter(None, map(_reading, (os.getpid(), *pids))))
        return sum(max(0.0, seconds - before.get(process, 0.0)) for process, seconds in self._seen.items())


def _reading(pid: int) -> tuple[psutil.Process, float] | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
    except psutil.Error:  # the process has just ended
        return None
    return process, times.user + times.system
