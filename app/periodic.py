"""Thread that works at intervals."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import ClassVar

__all__ = ["PeriodicThread"]


class PeriodicThread(ABC):
    """Daemon thread that calls `work` at its start, and again after each pause of `seconds`, until it is stopped."""

    name: ClassVar[str]
    seconds: ClassVar[float]

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def stop(self) -> None:
        """Stop the thread, without waiting for work in progress."""
        self._stopped.set()

    @abstractmethod
    def work(self) -> None:
        """Work once; an exception ends the thread."""

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.work()
            self._stopped.wait(self.seconds)
