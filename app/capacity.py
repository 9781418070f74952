"""Capacity of one web worker: engines, threads and memory, from the settings and the container's limits."""

from __future__ import annotations

import os
from dataclasses import dataclass

from app.engine.container import MEGABYTE, choose_processes, choose_threads, cpu_quota, memory_limit
from app.engine.messages import EngineConfig
from app.engine.models import MIN_HEADROOM_MB, REGISTRY
from app.engine.providers import extra_mb
from app.settings import Settings

__all__ = ["WEB_MB", "Capacity", "max_buffered_bytes", "max_memory_mb", "plan_capacity", "web_threads"]

# MB of gunicorn and one web worker with its uploads, and copies of a body in memory while it is read and parsed.
WEB_MB, BODY_COPIES = 70, 2.5
WARN_SHARE = 0.8
# An inference of 320 x 320 px does not get faster with more threads.
MAX_THREADS_ALONE = 8
# Memory limit assumed with MEMORY_PROFILE=low.
LOW_LIMIT = 512 * MEGABYTE
# Threads beyond those of admitted photos, so that /health and refusals never wait.
SPARE_THREADS = 16


@dataclass(frozen=True, slots=True)
class Capacity:
    """Engines of one web worker, and the number of photos that may wait for them."""

    engines: int
    waiting: int
    config: EngineConfig

    @property
    def places(self) -> int:
        """Return the number of photos that are admitted at once."""
        return self.engines + self.waiting


def plan_capacity(settings: Settings) -> Capacity:
    """Return the capacity by the settings, with defaults from the cores and the memory of the container."""
    cores = max(1, cpu_quota() // settings.web_concurrency)
    largest = max((REGISTRY[name] for name in settings.allowed_models), key=lambda model: model.cap_mb)
    room = _room_for_engines(settings)
    extra = extra_mb(settings.execution_providers)
    engines = settings.engine_processes or choose_processes(cores, room, largest.cap_mb + extra)
    heavy = not all(REGISTRY[name].light for name in settings.allowed_models)
    threads = choose_threads(cores, engines, heavy=heavy)
    min_cap = largest.memory_mb + MIN_HEADROOM_MB + extra
    cap = settings.engine_memory_mb or max(min_cap, min(largest.cap_mb + extra, room // engines))
    config = EngineConfig(
        model=settings.model_name,
        threads=settings.engine_threads or threads,
        threads_alone=settings.engine_threads or min(cores, MAX_THREADS_ALONE),
        fast_under_load=settings.auto_under_load == "fast",
        max_pixels=settings.max_pixels,
        max_pixels_hard=settings.max_pixels_hard,
        memory_mb=cap,
        memory_warn_mb=settings.memory_warn_mb or int(cap * WARN_SHARE),
        max_tasks=settings.engine_max_tasks,
        faults=os.environ.get("ENGINE_FAULTS") == "1",  # only for tests, so not a setting
        rembg_home=settings.rembg_home,
        providers=settings.execution_providers,
        log_level=settings.log_level,
        log_format=settings.log_format,
        log_file=str(settings.log_file.absolute()) if settings.log_file else "",
    )
    return Capacity(engines, settings.queue_size, config)


def _room_for_engines(settings: Settings) -> int:
    """Return the MB for the engines of one web worker: its share, minus uploads and cached results."""
    limit = min(memory_limit(), LOW_LIMIT) if settings.memory_profile == "low" else memory_limit()
    share = limit // settings.web_concurrency // MEGABYTE
    return max(0, int(share - _max_web_mb(settings)))


def max_memory_mb(settings: Settings, capacity: Capacity) -> int:
    """Return the maximum memory of all web workers and their engines, in MB."""
    engines = capacity.engines * capacity.config.memory_mb
    return settings.web_concurrency * int(_max_web_mb(settings) + engines)


def _max_web_mb(settings: Settings) -> float:
    bodies = max_buffered_bytes(settings) * BODY_COPIES / MEGABYTE
    return WEB_MB + bodies + (settings.cache_max_mb if settings.cache_in_memory else 0)


def max_buffered_bytes(settings: Settings) -> int:
    """Return the bytes of bodies and unread answers that a web worker holds at most: at least one, and another one."""
    return max(2, settings.max_concurrent_uploads) * settings.max_content_length


def web_threads(settings: Settings) -> int:
    """Return the threads of a web worker: one for each admitted photo, and some for all other requests."""
    return settings.web_threads or plan_capacity(settings).places + SPARE_THREADS
