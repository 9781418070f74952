"""How much of the time that our cores should have had went to other machines on the same host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["CpuTimes", "undisturbed"]

Measured = TypeVar("Measured")

# A run in which others had more than this share of our cores says little; it is tried so often.
MOST_STOLEN, MOST_RUNS = 0.05, 4


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """A moment of the machine's clocks, in ticks: all that passed, and what was stolen (proc(5), /proc/stat)."""

    total: int
    stolen: int

    @classmethod
    def now(cls) -> CpuTimes:
        """Read the clocks; where there are none nothing is ever stolen."""
        try:
            line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        except OSError:
            return cls(0, 0)
        ticks = [int(number) for number in line.split()[1:9]]  # what guests take is in the first of them
        return cls(sum(ticks), ticks[7])

    def stolen_since(self) -> float:
        """Return the share of the time since this moment that was stolen, 0..1."""
        now = CpuTimes.now()
        return (now.stolen - self.stolen) / max(1, now.total - self.total)


def undisturbed(run: Callable[[], Measured]) -> Measured:
    """Measure, again while too much was stolen meanwhile; return what was measured with the least stolen."""
    results = list[tuple[float, Measured]]()
    while len(results) < MOST_RUNS and all(stolen > MOST_STOLEN for stolen, _ in results):
        start = CpuTimes.now()
        measured = run()
        results.append((start.stolen_since(), measured))
    return min(results, key=lambda result: result[0])[1]
