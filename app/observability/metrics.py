"""Table of all metrics, and their counter in a web process. No Flask.

With PROMETHEUS_MULTIPROC_DIR, set by gunicorn.conf.py, values are in files shared by all workers; without it (tests,
`flask run`) they belong to one application.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Literal, ParamSpec

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from app.cache.results import Lookup
from app.engine.models import AUTO
from app.engine.observer import EngineObserver, RestartReason
from app.observability import multiproc
from app.observability.disk import DiskSpace
from app.removal import RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = ["METRICS", "PREFIX", "Metric", "Metrics"]

log = logging.getLogger(__name__)

PREFIX = "bg_remover_"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
# Statuses of rejected requests; other errors are in requests_total by their status.
REJECTING = frozenset({401, 403, 408, 413, 429, 503})
REJECTING_CODES = frozenset({"IMAGE_REFUSED"})

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
STAGE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MEGAPIXELS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 12, 16, 25, 50, 100)
BYTES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
RATIOS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `workers` is the aggregation of a gauge over living workers."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    workers: Literal["livesum", "livemin", "livemax"] = "livesum"
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric("requests_total", "counter", ("method", "endpoint", "status"), "Answered requests."),
    Metric(
        "request_duration_seconds",
        "histogram",
        ("endpoint",),
        "Seconds from a request's headers to its answer.",
        buckets=REQUEST_SECONDS,
    ),
    Metric(
        "stage_duration_seconds",
        "histogram",
        ("stage",),
        "Seconds of one stage of processing a photo.",
        buckets=STAGE_SECONDS,
    ),
    Metric("queue_depth", "gauge", (), "Photos waiting for an engine."),
    Metric("inflight", "gauge", (), "Requests in progress, except those to /metrics."),
    Metric("rejected_total", "counter", ("reason",), "Rejected requests, by error code."),
    Metric("engine_restarts_total", "counter", ("reason",), "Replaced engines."),
    Metric(
        "engine_memory_bytes",
        "gauge",
        (),
        "Resident memory of all engines, each the maximum after a stage of its last photo.",
    ),
    Metric("input_megapixels", "histogram", (), "Megapixels of a photo as sent.", buckets=MEGAPIXELS),
    Metric("output_bytes", "histogram", (), "Bytes of a result.", buckets=BYTES),
    Metric(
        "compression_ratio", "histogram", (), "Bytes of a photo divided by the bytes of its result.", buckets=RATIOS
    ),
    Metric(
        "ratelimit_storage_up",
        "gauge",
        (),
        "1 while every worker reaches the storage of the rate limits, 0 while any uses its own memory instead.",
        workers="livemin",
    ),
    Metric(
        "cache_requests_total",
        "counter",
        ("result",),
        "Look-ups in the result cache: hit, miss, or error if Redis was unavailable.",
    ),
    Metric("cpu_seconds_total", "counter", (), "CPU seconds of the web workers and their engines."),
    Metric(
        "disk_free_ratio",
        "gauge",
        (),
        "Free share of the fullest disk that the service writes to, 0 to 1.",
        workers="livemin",
    ),
    Metric(
        "auto_photos_total",
        "counter",
        ("outcome",),
        "Photos with model auto: sure (lite alone), unsure (u2netp as well), or load (unsure, lite alone).",
    ),
    Metric("jobs_total", "counter", (), "Accepted jobs."),
    Metric("job_photos_total", "counter", ("outcome",), "Finished photos of jobs: done or failed."),
    # The state is shared by all workers, so each has the same values.
    Metric("job_queue_depth", "gauge", (), "Photos of jobs that wait for their turn.", workers="livemax"),
    Metric(
        "job_oldest_seconds",
        "gauge",
        (),
        "Seconds since the oldest job with waiting photos was accepted, 0 without any.",
        workers="livemax",
    ),
    Metric(
        "job_workers",
        "gauge",
        (),
        "Living processes that work on jobs: Celery workers, or 1 where this machine does it.",
        workers="livemax",
    ),
    Metric(
        "webhooks_total",
        "counter",
        ("outcome",),
        "Attempts to send webhooks: delivered, retried (failed, to be repeated), or abandoned (failed for an hour).",
    ),
    Metric("model_info", "gauge", ("name", "sha256", "provider"), "1 for the model in use.", workers="livemax"),
)

JOB_OUTCOMES = ("done", "failed")
WEBHOOK_OUTCOMES = ("delivered", "retried", "abandoned")
# Outcomes of the model auto.
OUTCOMES = SURE, UNSURE, LOAD = ("sure", "unsure", "load")
P = ParamSpec("P")


def _harmless(
    method: Callable[Concatenate[Metrics, P], None],
) -> Callable[Concatenate[Metrics, P], None]:
    """Decorate a method so that its failures are logged and never raised."""

    @wraps(method)
    def guarded(self: Metrics, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:  # an error in a metric must not fail a request or an engine
            log.exception("metrics.failed")

    return guarded


class Metrics(EngineObserver):
    """Metrics of one web process; counting never raises."""

    def __init__(self, settings: Settings) -> None:
        self._folder = multiproc.shared_folder()
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._define()
        self._memory: dict[int, int] = {}
        self._lock = threading.Lock()
        for reason in RestartReason:  # a rate needs a zero before the first event
            self._counters["engine_restarts_total"].labels(reason.value)
        for lookup in Lookup if settings.cache_url else ():
            self._counters["cache_requests_total"].labels(lookup.value)
        for outcome in OUTCOMES if AUTO in settings.allowed_models else ():
            self._counters["auto_photos_total"].labels(outcome)
        if settings.jobs_backend != "off":
            for outcome in JOB_OUTCOMES:
                self._counters["job_photos_total"].labels(outcome)
            for outcome in WEBHOOK_OUTCOMES if settings.webhook_secret else ():
                self._counters["webhooks_total"].labels(outcome)
        # Until the first sample, since 0 would raise an alarm at every start.
        self._gauges["ratelimit_storage_up"].set(1)
        self._gauges["disk_free_ratio"].set(1)

    def _define(self) -> None:
        registry = None if self._folder else self._registry
        for metric in METRICS:
            name = PREFIX + metric.name
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(name, metric.help, metric.labels, registry=registry)
            elif metric.kind == "gauge":
                self._gauges[metric.name] = Gauge(
                    name, metric.help, metric.labels, registry=registry, multiprocess_mode=metric.workers
                )
            else:
                self._histograms[metric.name] = Histogram(
                    name, metric.help, metric.labels, registry=registry, buckets=metric.buckets
                )

    def exposition(self) -> bytes:
        """Return the metrics of all workers, in Prometheus' text format."""
        return multiproc.exposition(self._folder) if self._folder else generate_latest(self._registry)

    # Called by the sampler.

    @_harmless
    def set_state(self, queue_depth: int, *, storage_up: bool) -> None:
        """Set the gauges of the current state."""
        self._gauges["queue_depth"].set(queue_depth)
        self._gauges["ratelimit_storage_up"].set(storage_up)

    @_harmless
    def set_machine(self, cpu_seconds: float, disk: DiskSpace | None) -> None:
        """Add CPU seconds, and set the free share of the disk if it is known."""
        self._counters["cpu_seconds_total"].inc(cpu_seconds)
        if disk is not None:
            self._gauges["disk_free_ratio"].set(disk.share)

    @_harmless
    def set_jobs(self, queued: int, oldest_seconds: float, workers: int) -> None:
        """Set the gauges of jobs."""
        self._gauges["job_queue_depth"].set(queued)
        self._gauges["job_oldest_seconds"].set(oldest_seconds)
        self._gauges["job_workers"].set(workers)

    @_harmless
    def set_model(self, name: str, sha256: str, provider: str) -> None:
        """Publish a model in use."""
        self._gauges["model_info"].labels(name, sha256, provider).set(1)

    # Called by the result cache.

    @_harmless
    def count_lookup(self, lookup: Lookup) -> None:
        """Count a look-up in the result cache."""
        self._counters["cache_requests_total"].labels(lookup.value).inc()

    # Called by jobs.

    @_harmless
    def job_accepted(self) -> None:
        """Count a stored job."""
        self._counters["jobs_total"].inc()

    @_harmless
    def job_photo_finished(self, outcome: str) -> None:
        """Count a finished photo of a job."""
        self._counters["job_photos_total"].labels(outcome).inc()

    @_harmless
    def webhook_sent(self, outcome: str) -> None:
        """Count an attempt to send a webhook."""
        self._counters["webhooks_total"].labels(outcome).inc()

    # Called by the engine pool.

    @_harmless
    def removed(self, request: RemovalRequest, result: RemovalResult) -> None:
        """Count a processed photo."""
        width, height = result.input_size
        for stage, milliseconds in result.stages_ms.items():
            self._histograms["stage_duration_seconds"].labels(stage).observe(milliseconds / 1000)
        self._histograms["input_megapixels"].observe(width * height / 1e6)
        self._histograms["output_bytes"].observe(len(result.body))
        self._histograms["compression_ratio"].observe(len(request.image) / max(1, len(result.body)))
        if request.options.model == AUTO:
            self._counters["auto_photos_total"].labels(_outcome(result)).inc()

    @_harmless
    def memory_seen(self, engine: int, megabytes: int) -> None:
        """Record the memory of one engine."""
        with self._lock:
            self._memory[engine] = megabytes << 20
            self._gauges["engine_memory_bytes"].set(sum(self._memory.values()))

    @_harmless
    def replaced(self, reason: RestartReason) -> None:
        """Count a replaced engine."""
        self._counters["engine_restarts_total"].labels(reason.value).inc()

    # Called by the hooks of HTTP requests.

    @_harmless
    def request_begun(self) -> None:
        """Count a request in flight."""
        self._gauges["inflight"].inc()

    @_harmless
    def request_answered(self, *, method: str, endpoint: str, status: int, error_code: str, seconds: float) -> None:
        """Count an answer, and also its error code if the request was rejected."""
        known = method if method in METHODS else "other"
        self._counters["requests_total"].labels(known, endpoint, str(status)).inc()
        self._histograms["request_duration_seconds"].labels(endpoint).observe(seconds)
        if error_code and (status in REJECTING or error_code in REJECTING_CODES):
            self._counters["rejected_total"].labels(error_code).inc()

    @_harmless
    def request_ended(self) -> None:
        """Remove a request from those in flight."""
        self._gauges["inflight"].dec()


def _outcome(result: RemovalResult) -> str:
    if result.under_load:
        return LOAD
    return UNSURE if "+" in result.model else SURE
