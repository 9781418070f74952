"""State of the service, as reported by /health and /health/ready."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psutil

from app.engine.container import MEGABYTE, memory_limit
from app.engine.pool import EnginePool, PoolStatus
from app.observability.disk import DiskSpace, least_space
from app.settings import Settings

__all__ = ["HealthMonitor", "MemoryUse"]

Level = Literal["OK", "WARNING", "CRITICAL"]
WARNING_SHARE, CRITICAL_SHARE = 0.7, 0.9
JOBS_DOWN = "Jobs are unavailable; single photos are processed."


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory of this worker and its engines, and the container's limit, in MB."""

    rss_mb: int
    limit_mb: int

    @property
    def level(self) -> Level:
        """Return OK under 70 % of the limit, WARNING under 90 %, else CRITICAL."""
        share = self.rss_mb / self.limit_mb
        return "OK" if share < WARNING_SHARE else "WARNING" if share < CRITICAL_SHARE else "CRITICAL"


class HealthMonitor:
    """Monitor of the engine pool, the memory of its processes, Redis, disk space, and jobs."""

    def __init__(
        self,
        settings: Settings,
        pool: EnginePool,
        *redis_up: Callable[[], bool | None],
        jobs_up: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._redis_up = redis_up
        self._jobs_up = jobs_up
        self._settings = settings
        self._pool = pool
        self._started = time.monotonic()

    def report(self) -> dict[str, object]:
        """Return the body of /health; its `status` is healthy, degraded or unhealthy."""
        status = self._pool.status()
        memory, disk = _memory_use(status.pids), least_space(self._settings.written_folders)
        checks = {
            "app": not self._pool.queue.closing,
            "engine": bool(status.pids or status.restarting),
            "model": status.ready + status.restarting > 0,
            "redis": _all_up([up() for up in self._redis_up]),
            "disk_space": None if disk is None else disk.level != "CRITICAL",
            "memory": memory.level != "CRITICAL",
        }
        jobs_down = self._jobs_up() is False
        return {
            "status": _overall(status, checks, disk, jobs_down=jobs_down),
            "reason": status.problem.message if status.problem else JOBS_DOWN if jobs_down else None,
            "checks": checks,
            "memory": {"rss_mb": memory.rss_mb, "limit_mb": memory.limit_mb, "level": memory.level},
            "disk": disk and {"free_mb": disk.free_mb, "free_percent": int(disk.share * 100), "level": disk.level},
            "model": self._settings.model_name,
            "provider": status.provider or None,
            "queue": {
                "depth": self._pool.queue.depth,
                "capacity": self._settings.queue_size,
            },
            "uptime_s": round(time.monotonic() - self._started),
            "name": self._settings.app_name,
            "version": self._settings.app_version,
        }

    def readiness(self) -> tuple[bool, str, str]:
        """Return (ready, reason, advice): ready once a real inference has succeeded."""
        status = self._pool.status()
        if self._pool.queue.closing:
            return False, "The server is shutting down.", ""
        if status.ready or status.restarting:
            return True, "", ""
        if status.problem is not None:
            return False, status.problem.message, status.problem.advice
        return False, "No engine has started yet.", ""


def _overall(status: PoolStatus, checks: dict[str, bool | None], disk: DiskSpace | None, *, jobs_down: bool) -> str:
    if not (checks["app"] and checks["model"]) or checks["disk_space"] is False:
        return "unhealthy"
    all_well = (
        status.ready == status.engines
        and checks["memory"]
        and checks["redis"] is not False
        and not jobs_down
        and (disk is None or disk.level == "OK")
    )
    return "healthy" if all_well else "degraded"


def _all_up(states: list[bool | None]) -> bool | None:
    """Return whether all users of Redis reach it; None if Redis is not used."""
    used = [state for state in states if state is not None]
    return all(used) if used else None


def _memory_use(engine_pids: tuple[int, ...]) -> MemoryUse:
    resident = sum(_resident(pid) for pid in (os.getpid(), *engine_pids))
    return MemoryUse(resident // MEGABYTE, max(1, memory_limit() // MEGABYTE))


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # the process has just ended
        return 0
