"""Celery worker whose engines sleep: `celery -A benchmarks.scale_worker worker`, with SLEEP_SECONDS."""

from __future__ import annotations

import os
import threading
import time

from celery import Celery

from app.engine.messages import EngineConfig
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.engine.submission import Deadline, Outcome
from app.jobs import celery_app, celery_worker
from app.removal import Box, RemovalRequest, RemovalResult

__all__ = ["SLEEP_SECONDS"]

SLEEP_SECONDS = "SLEEP_SECONDS"
# As many as the PNG of the photo of benchmarks.load has.
ANSWER = bytes(500_000)


class SleepingEngines(EnginePool):
    """Engine pool that answers every photo after the same time, without any use of a core."""

    def __init__(self, config: EngineConfig, processes: int, queue: RemovalQueue) -> None:
        self._free = threading.Semaphore(processes)
        self._seconds = float(os.environ[SLEEP_SECONDS])

    def start(self) -> None:
        """Do nothing."""

    def stop(self, grace: float = 0.0) -> None:
        """Do nothing."""

    def submit_all(self, request: RemovalRequest, deadline: Deadline) -> list[Outcome]:
        """Wait for an engine, sleep, and return the same result for every photo."""
        with self._free:
            time.sleep(self._seconds)
        return [RemovalResult(ANSWER, "image/png", 1000, 667, Box(0, 0, 1000, 667), 1.0, "lite", {})]


vars(celery_worker)["EnginePool"] = SleepingEngines


def __getattr__(name: str) -> Celery:
    """Return `app`, which the command `celery` looks for."""
    return celery_app.__getattr__(name)
