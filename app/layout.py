"""How many engines, with how many threads, and what each is told."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.container import choose_layout, cpu_quota, memory_limit
from app.engine.messages import EngineConfig
from app.engine.models import REGISTRY
from app.settings import Settings

__all__ = ["Layout", "engine_layout", "web_threads"]

# Threads of a web worker beyond those that wait for an engine, so that /health and refusals never wait.
SPARE_THREADS = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """The engines of one web worker."""

    processes: int
    config: EngineConfig


def engine_layout(settings: Settings) -> Layout:
    """Choose from the cores and the memory of the container what the settings leave open."""
    cores = max(1, cpu_quota() // settings.web_concurrency)
    memory = memory_limit() // settings.web_concurrency
    neediest = max(REGISTRY[name].memory_mb for name in settings.allowed_models)
    processes, threads = choose_layout(cores, memory, neediest)
    if settings.engine_processes:
        processes = settings.engine_processes
        threads = max(1, cores // processes)
    config = EngineConfig(
        model=settings.model_name,
        threads=settings.engine_threads or threads,
        max_pixels=settings.max_pixels,
        max_pixels_hard=settings.max_pixels_hard,
        rembg_home=settings.rembg_home,
        log_level=settings.log_level,
    )
    return Layout(processes, config)


def web_threads(settings: Settings) -> int:
    """Return the threads of a web worker: all that may wait for an engine, and some to answer the others."""
    return settings.web_threads or engine_layout(settings).processes + settings.queue_size + SPARE_THREADS
