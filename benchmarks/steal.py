"""Stolen CPU time: the share of our cores that went to other machines on the same host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["MAX_STOLEN", "CpuTimes", "undisturbed"]

Measured = TypeVar("Measured")

# A run with a larger stolen share is repeated, up to this number of runs.
MAX_STOLEN, MAX_RUNS = 0.05, 4


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU times of the machine in ticks, total and stolen (proc(5), /proc/stat)."""

    total: int
    stolen: int

    @classmethod
    def now(cls) -> CpuTimes:
        """Read the CPU times; zeros where they are not available."""
        try:
            line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        except OSError:
            return cls(0, 0)
        ticks = [int(number) for number in line.split()[1:9]]  # the first of them includes guests
        return cls(sum(ticks), ticks[7])

    def stolen_since(self) -> float:
        """Return the stolen share of the time since then, 0..1."""
        now = CpuTimes.now()
        return (now.stolen - self.stolen) / max(1, now.total - self.total)


def undisturbed(run: Callable[[], Measured]) -> tuple[Measured, float]:
    """Measure, and repeat while too much time is stolen; return the result with the smallest stolen share, and it."""
    results = list[tuple[float, Measured]]()
    while len(results) < MAX_RUNS and all(stolen > MAX_STOLEN for stolen, _ in results):
        start = CpuTimes.now()
        measured = run()
        results.append((start.stolen_since(), measured))
    stolen, best = min(results, key=lambda result: result[0])
    return best, stolen
