"""How gunicorn serves the application: `gunicorn "app:create_app()"` reads this file by itself."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from app.engine.allocator import keep_heap_small
from app.http.presets import load_presets
from app.layout import web_threads
from app.observability import logs
from app.settings import SettingsError, load_settings

try:
    _settings = load_settings()
    load_presets(_settings.presets_file)
except SettingsError as error:
    sys.exit(str(error))

_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"
worker_class = "gthread"  # uploads and health checks wait on sockets; the computing is done in engines
workers = _settings.web_concurrency
threads = web_threads(_settings)
graceful_timeout = int(_settings.shutdown_grace)
preload_app = False  # threads and sockets of the pool must not cross the fork
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # a heartbeat must not wait for a disk
control_socket_disable = True
accesslog = None  # the application writes one line per request
loglevel = _settings.log_level.lower()


def post_worker_init(worker: Any) -> None:
    """Start the engines, after the fork and before the first request."""
    logs.configure(_settings.log_level)
    keep_heap_small(own_pages=1 << 20)  # bodies
    pool = worker.wsgi.extensions["pool"]
    worker.wsgi.extensions["fetcher"].start()
    worker.wsgi.extensions["sweeper"].start()
    pool.start()
    graceful = signal.getsignal(signal.SIGTERM)

    def refuse_new_work(number: int, frame: Any) -> None:
        pool.draining = True
        if callable(graceful):
            graceful(number, frame)

    signal.signal(signal.SIGTERM, refuse_new_work)


def worker_exit(server: Any, worker: Any) -> None:
    """End the engines with their worker."""
    extensions = getattr(getattr(worker, "wsgi", None), "extensions", {})
    if "pool" in extensions:
        extensions["fetcher"].stop()
        extensions["sweeper"].stop()
        extensions["pool"].stop()
