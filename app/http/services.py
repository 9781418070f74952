"""Services of one web worker, wired together once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from flask import Flask, current_app

from app.cache.results import ResultCache, open_cache
from app.capacity import plan_capacity
from app.engine.messages import EngineConfig
from app.engine.observer import EngineObserver
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.engine.submission import Submitter
from app.engine.weights_fetcher import WeightsFetcher
from app.fetch.url_fetcher import UrlFetcher
from app.http import limits
from app.jobs.service import JobService, open_jobs
from app.observability.health import HealthMonitor
from app.observability.metrics import Metrics
from app.observability.sampler import MetricsSampler
from app.options.presets import Preset, load_presets
from app.settings import Settings
from app.storage import Sweeper

__all__ = ["PoolFactory", "Services", "build_services", "install", "services", "services_of"]

EXTENSION = "background_remover"


class PoolFactory(Protocol):
    """Constructor of the engine pool, which tests replace."""

    def __call__(
        self, config: EngineConfig, processes: int, queue: RemovalQueue, observer: EngineObserver
    ) -> EnginePool:
        """Return a pool that takes its jobs from the queue and reports to the observer."""


@dataclass(frozen=True, slots=True)
class Services:
    """Services of one web worker; nothing runs before `start`."""

    settings: Settings
    presets: Mapping[str, Preset]
    queue: RemovalQueue
    pool: EnginePool
    cache: ResultCache | None
    health: HealthMonitor
    metrics: Metrics
    sampler: MetricsSampler
    url_fetcher: UrlFetcher
    weights_fetcher: WeightsFetcher
    sweeper: Sweeper
    jobs: JobService | None

    @property
    def submitter(self) -> Submitter:
        """Return the cache in front of the engines, without a cache the engines."""
        return self.cache or self.pool

    def start(self) -> None:
        """Start the engines and the background threads; returns at once."""
        self.weights_fetcher.start()
        self.sweeper.start()
        self.sampler.start()
        self.pool.start()
        if self.jobs is not None:
            self.jobs.start()

    def stop(self) -> None:
        """End the engines and the background threads."""
        if self.jobs is not None:  # before the engines that work on its photos
            self.jobs.stop()
        self.weights_fetcher.stop()
        self.sweeper.stop()
        self.sampler.stop()
        limits.stop()
        if self.cache is not None:
            self.cache.stop()
        self.pool.stop()


def build_services(settings: Settings, make_pool: PoolFactory) -> Services:
    """Build the services; connects to nothing. Raise SettingsError for files that the settings name."""
    capacity = plan_capacity(settings)
    metrics = Metrics(settings)
    queue = RemovalQueue(capacity.places, settings.max_concurrent_uploads)
    pool = make_pool(capacity.config, capacity.engines, queue, metrics)
    cache = open_cache(settings, capacity, pool, on_lookup=metrics.count_lookup)
    redis_users = (limits.storage_up, cache.up) if cache else (limits.storage_up,)
    url_fetcher = UrlFetcher(settings)
    # Without the cache: jobs would displace the results of interactive requests.
    jobs = open_jobs(settings, pool, url_fetcher, metrics, capacity.engines)
    return Services(
        settings=settings,
        presets=load_presets(settings.presets_file),
        queue=queue,
        pool=pool,
        cache=cache,
        health=HealthMonitor(settings, pool, *redis_users, jobs_up=jobs.up if jobs else lambda: None),
        metrics=metrics,
        sampler=MetricsSampler(metrics, settings, pool, limits.storage_up, jobs.waiting if jobs else lambda: None),
        url_fetcher=url_fetcher,
        weights_fetcher=WeightsFetcher(settings.allowed_models, settings.rembg_home),
        sweeper=Sweeper([settings.output_dir], settings.cleanup_max_age_hours * 3600, settings.swept_uploads),
        jobs=jobs,
    )


def install(app: Flask, services: Services) -> None:
    """Attach the services to an application."""
    app.extensions[EXTENSION] = services


def services_of(app: Flask) -> Services:
    """Return the services of an application."""
    return cast(Services, app.extensions[EXTENSION])


def services() -> Services:
    """Return the services of the current application."""
    return services_of(current_app)
