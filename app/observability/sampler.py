"""Sampler of metrics without events: gauges of the current state, and the model in use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from app.engine import weights
from app.engine.models import REGISTRY
from app.engine.pool import EnginePool
from app.observability.cpu import CpuClock
from app.observability.disk import least_space
from app.observability.metrics import Metrics
from app.periodic import PeriodicThread
from app.settings import Settings

__all__ = ["MetricsSampler"]


class MetricsSampler(PeriodicThread):
    """Thread that samples the queue, the storage of the rate limits, the engines, CPU time, disk space and jobs.

    `jobs` returns the number of waiting photos, the age of the oldest in seconds and the number of living workers, None
    where they are not known.
    """

    name = "metrics-sampler"
    # A scrape may reach another worker, which reads the last sample.
    seconds = 1.0

    def __init__(
        self,
        metrics: Metrics,
        settings: Settings,
        pool: EnginePool,
        storage_up: Callable[[], bool | None] = lambda: None,
        jobs: Callable[[], tuple[int, float, int] | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._settings = settings
        self._pool = pool
        self._storage_up = storage_up
        self._jobs = jobs
        self._provider = ""
        self._cpu = CpuClock()

    def work(self) -> None:
        """Sample, and publish the model."""
        self.sample()
        self._publish_model()

    def sample(self) -> None:
        """Set the gauges of the current state."""
        self._metrics.set_state(self._pool.queue.depth, storage_up=self._storage_up() is not False)
        self._metrics.set_machine(
            self._cpu.advance(self._pool.status().pids), least_space(self._settings.written_folders)
        )
        if (waiting := self._jobs()) is not None:
            self._metrics.set_jobs(*waiting)

    def _publish_model(self) -> None:
        """Publish the default model, each member of a cascade, once an engine has run it, once per provider."""
        provider = self._pool.status().provider
        if not provider or provider == self._provider:
            return
        model = REGISTRY[self._settings.model_name]
        if paths := weights.find_all(model, self._settings.rembg_home):
            with suppress(OSError):  # retried with the next sample
                for part, path in zip(model.parts, paths, strict=True):
                    self._metrics.set_model(part.name, weights.sha256(path), provider)
                self._provider = provider
