"""Celery application of a worker: `celery -A app.jobs.celery_app worker`."""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery import Celery, signals
from celery.concurrency import get_implementation

from app import log_format
from app.capacity import plan_capacity
from app.jobs.celery_queue import TASK, build_celery
from app.jobs.celery_worker import JobWorker, worker_settings
from app.jobs.work import SPARE_THREADS
from app.settings import Settings, SettingsError
from app.startup import checked_settings

__all__ = ["app"]

# Two lines for each photo, without more than our own line.
REDUNDANT_LOGGERS = ("celery.worker.strategy", "celery.app.trace")

app: Celery


def _build_worker(settings: Settings) -> Celery:
    """Return the application with its task; engines start with a worker, not with `celery inspect`."""
    celery = build_celery(settings)
    celery.conf.worker_concurrency = plan_capacity(worker_settings(settings)).engines + SPARE_THREADS
    workers: list[JobWorker] = []

    def photo() -> str:
        return workers[0].run_one()

    def configure_log(**_: Any) -> None:
        log_format.configure(settings.log_level, settings.log_format, str(settings.log_file or ""))
        for name in REDUNDANT_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)

    def start(sender: Any, **_: Any) -> None:
        if get_implementation(sender.pool_cls) is not get_implementation("threads"):
            sys.exit("A worker has one pool of engines for all its threads: leave out --pool.")
        workers.append(JobWorker(settings, celery, sender.concurrency))
        workers[0].start()

    def drain(**_: Any) -> None:
        workers[0].drain()

    def stop(**_: Any) -> None:
        workers[0].stop()

    celery.task(photo, name=TASK, shared=False)
    signals.setup_logging.connect(configure_log, weak=False)
    signals.worker_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(drain, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)
    return celery


def __getattr__(name: str) -> Celery:
    """Build `app`, which the command `celery` looks for, when it is first read."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        settings = checked_settings()
        if settings.jobs_backend != "celery":
            sys.exit("A worker needs JOBS_BACKEND=celery, and the settings of the web processes.")
        globals()[name] = celery = _build_worker(settings)
    except SettingsError as error:
        sys.exit(str(error))
    return celery
