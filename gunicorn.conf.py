"""Configuration of gunicorn; `gunicorn "app:create_app()"` in this folder reads it by default."""

from __future__ import annotations

import logging
import math
import mmap
import os
import signal
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from app.capacity import max_buffered_bytes, web_threads
from app.engine.allocator import keep_heap_small
from app.http import request_log
from app.observability import multiproc
from app.server.worker import ConnectionWorker
from app.settings import SettingsError
from app.startup import announcement, checked_settings

if TYPE_CHECKING:
    from app.http.services import Services

log = logging.getLogger("app.server")


try:
    _settings = checked_settings()
    request_log.configure(_settings)
except SettingsError as error:
    sys.exit(str(error))


class ServerLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Logger of gunicorn whose lines have the format of the service."""

    def setup(self, cfg: Any) -> None:
        """Propagate all lines to the root logger."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class ServiceWorker(ConnectionWorker):
    """Worker with the limits of the settings."""

    max_body = _settings.max_content_length
    max_buffered = max_buffered_bytes(_settings)
    request_timeout = _settings.request_timeout
    streamed = MappingProxyType({("POST", "/jobs"): _settings.jobs_max_bytes})


_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"
worker_class = ServiceWorker
workers = _settings.web_concurrency
threads = web_threads(_settings)
graceful_timeout = math.ceil(_settings.shutdown_grace)
preload_app = False  # threads and sockets of the pool must not cross the fork
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # a heartbeat must not wait for a disk
control_socket_disable = True
accesslog = None  # the application writes one line per request
loglevel = _settings.log_level.lower()
logger_class = ServerLog


def on_starting(server: Any) -> None:
    """Create the folder of the metrics, and change how the master treats signals and surplus workers."""
    reload, add_worker, manage_workers = server.handle_hup, server.handle_ttin, server.manage_workers

    def reload_good_settings() -> None:
        try:
            checked_settings()
        except SettingsError as error:
            log.error("reload.refused %s", " ".join(str(error).split()))
        else:
            reload()

    def add_planned_worker() -> None:
        """Undo a SIGTTOU only: the memory is divided among WEB_CONCURRENCY workers."""
        if server.num_workers < server.cfg.workers:
            add_worker()
        else:
            log.warning("workers.at_maximum WEB_CONCURRENCY=%d", server.cfg.workers)

    def mark_and_end_workers() -> None:
        """Mark the workers that gunicorn ends while others go on: they finish the requests that they have accepted."""
        for worker in sorted(server.WORKERS.values(), key=lambda worker: worker.age)[: -server.num_workers]:
            worker.replaced[0] = 1
        manage_workers()

    server.handle_hup, server.handle_ttin = reload_good_settings, add_planned_worker
    server.manage_workers = mark_and_end_workers
    multiproc.prepare()


def when_ready(server: Any) -> None:
    """Log the address of the service and its use."""
    for line in announcement(_settings):
        log.info("%s", line)


def pre_fork(server: Any, worker: Any) -> None:
    """Share a byte with a worker: 1 if other workers take its place."""
    worker.replaced = mmap.mmap(-1, 1)


def child_exit(server: Any, worker: Any) -> None:
    """Remove the gauges of a dead worker."""
    multiproc.mark_dead(worker.pid)


def post_fork(server: Any, worker: Any) -> None:
    """Allocate the worker's files of metrics."""
    multiproc.reserve()


def post_worker_init(worker: Any) -> None:
    """Start the engines, after the fork and before the first request."""
    request_log.configure(_settings)
    keep_heap_small(mmap_threshold=1 << 20, trim_threshold=2 << 20)  # the bodies of small photos, from one to the next
    services = _services(worker)
    services.start()
    graceful = signal.getsignal(signal.SIGTERM)

    def refuse_new_work(number: int, frame: Any) -> None:
        if not worker.replaced[0]:
            services.queue.drain()
        if callable(graceful):
            graceful(number, frame)

    signal.signal(signal.SIGTERM, refuse_new_work)


def worker_exit(server: Any, worker: Any) -> None:
    """End the engines with their worker."""
    if hasattr(worker, "wsgi"):  # it may have ended before it loaded the application
        _services(worker).stop()


def _services(worker: Any) -> Services:
    # prometheus_client must not be imported before `on_starting` has made the folder of its files.
    from app.http.services import services_of

    return services_of(worker.wsgi)
