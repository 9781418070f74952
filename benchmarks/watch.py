"""Periodic monitoring of a running service, on separate threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from types import TracebackType

from benchmarks.memory import MemoryFile, MemoryFiles, ProcessMemory
from benchmarks.server import Service

__all__ = ["HealthWatch", "MemorySample", "MemoryWatch", "Watch"]

HEALTHY_STATUSES = (200, 503)


class Watch:
    """Call a function every `seconds` while the block runs; its exceptions are raised by the block."""

    def __init__(self, look: Callable[[], None], seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._done = threading.Event()
        self._executor = ThreadPoolExecutor(1, "watch")

    def __enter__(self) -> Watch:
        self._future = self._executor.submit(self._repeat)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._executor.shutdown()
        if error is None:
            self._future.result()

    def _repeat(self) -> None:
        due = time.monotonic()
        while True:
            self._look()
            due = max(due + self._seconds, time.monotonic())
            if self._done.wait(due - time.monotonic()):
                return


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory of a service at a time of `time.monotonic()`, in bytes."""

    at: float
    bytes: int
    processes: list[ProcessMemory]
    files: list[MemoryFile]


@dataclass(slots=True)
class MemoryWatch:
    """Samples of a service's memory; `files` adds files in memory outside of any PSS."""

    service: Service
    files: MemoryFiles | None = None
    samples: list[MemorySample] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample."""
        processes = self.service.memory()
        files = self.files.held_by(process.pid for process in processes) if self.files else []
        total = sum(process.pss for process in processes) + sum(file.uncounted for file in files)
        self.samples.append(MemorySample(time.monotonic(), total, processes, files))

    @property
    def peak(self) -> MemorySample:
        """Return the largest sample."""
        return max(self.samples, key=lambda sample: sample.bytes)


@dataclass(slots=True)
class HealthWatch:
    """Requests of /health; everything except a 200 or 503 in time is a failure."""

    service: Service
    statuses: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    slowest_ms: float = 0.0

    def look(self) -> None:
        """Request /health once."""
        started = time.perf_counter()
        try:
            status = self.service.ask("/health")[0]
            self._count(self.statuses, str(status))
            if status not in HEALTHY_STATUSES:
                self._count(self.failures, str(status))
        except (OSError, HTTPException, ValueError) as error:
            self._count(self.failures, type(error).__name__)
        self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - started) * 1000)

    def _count(self, numbers: dict[str, int], name: str) -> None:
        numbers[name] = numbers.get(name, 0) + 1
