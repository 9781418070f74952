"""Worker of the Celery backend: one pool of engines, and the work on one photo for each task."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from app.capacity import plan_capacity
from app.engine.pool import EnginePool
from app.engine.queue import RemovalQueue
from app.fetch.url_fetcher import UrlFetcher
from app.jobs.celery_backend import CeleryBackend, open_files
from app.jobs.celery_queue import KEY_PREFIX, QUEUE
from app.jobs.errors import JobsUnavailable
from app.jobs.redis_store import LOST_SECONDS, Claim, RedisJobStore
from app.jobs.shared_folder import WorkerFolder
from app.jobs.store import Task
from app.jobs.work import MAX_LOSSES, NotNow, Outcome, Tools, complete, insist, process
from app.settings import Settings

__all__ = ["JobWorker", "StallDetector", "worker_settings"]

log = logging.getLogger("app.jobs")

# Interval of reports that the worker lives: several may be missed before it counts as lost.
REPORT_SECONDS = LOST_SECONDS / 4
# Number of reports in a row with waiting tasks and a free thread that takes none: more than a new connection to Redis,
# and photos that wait before their next attempt, need.
MAX_IDLE_REPORTS = 18
# Seconds for giving back photos in work before a stalled worker ends.
GIVE_BACK_SECONDS = 5.0


def worker_settings(settings: Settings) -> Settings:
    """Return the settings of a worker: all cores and memory of its container are for one pool."""
    return settings.model_copy(update={"web_concurrency": 1, "max_concurrent_uploads": 2})


class _NoObserver:
    """JobObserver of a worker: web processes count what the state records."""

    def job_accepted(self) -> None:
        """Ignore it: workers accept no jobs."""

    def job_photo_finished(self, outcome: str) -> None:
        """Ignore it."""

    def webhook_sent(self, outcome: str) -> None:
        """Ignore it: workers send no webhooks."""


class StallDetector:
    """Detector of a Celery consumer that takes no tasks although some wait.

    After a lost connection to Redis it may stay so without an error (github.com/celery/celery/issues/8091 and 10205).
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._idle_reports = 0

    def task_taken(self) -> None:
        """Begin to count again."""
        self._idle_reports = 0

    def is_stalled(self, waiting: int, running: int) -> bool:
        """Return whether tasks have waited during MAX_IDLE_REPORTS calls while a thread was free and took none."""
        self._idle_reports = self._idle_reports + 1 if waiting and running < self._threads else 0
        return self._idle_reports >= MAX_IDLE_REPORTS


class JobWorker:
    """Engines of a worker process, and what its threads need.

    `threads` is the number of Celery's threads, which `--concurrency` may change.
    """

    def __init__(self, settings: Settings, celery: Celery, threads: int) -> None:
        capacity = plan_capacity(worker_settings(settings))
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._grace = settings.shutdown_grace
        self._pool = EnginePool(capacity.config, capacity.engines, RemovalQueue(capacity.places, body_slots=1))
        self._store = RedisJobStore(settings.redis_url.get_secret_value(), settings.jobs_ttl)
        files = open_files(settings.jobs_storage or "", WorkerFolder)
        self._tools = Tools(files, self._pool, UrlFetcher(settings), settings)
        self._backend = CeleryBackend(self._store, celery)
        self._observer = _NoObserver()
        self._stall = StallDetector(threads)
        self._running = dict[int, tuple[str, int]]()
        self._ending, self._stopped = threading.Event(), threading.Event()
        self._reporter = threading.Thread(target=self._report, name="jobs-reporter", daemon=True)
        self._drainer = threading.Thread(target=self._end_engines, name="jobs-drainer", daemon=True)

    def start(self) -> None:
        """Start the engines and the threads."""
        self._pool.start()
        self._backend.start()
        self._reporter.start()

    def drain(self) -> None:
        """Take no more photos; those in work have SHUTDOWN_GRACE, then they are queued again. Return at once."""
        if not self._ending.is_set():
            self._ending.set()
            self._drainer.start()

    def stop(self) -> None:
        """End the engines and the threads."""
        self.drain()
        self._drainer.join()
        self._stopped.set()
        self._backend.stop()
        self._store.close()

    def run_one(self) -> str:
        """Work on the next photo; return its reference for the log, empty if none waits."""
        self._stall.task_taken()
        try:
            claim = None if self._ending.is_set() else self._store.claim()
        except JobsUnavailable:  # the photo stays queued
            return ""
        if claim is None:
            return ""
        with self._reported(claim.task):
            return self._work_on(claim)

    def _work_on(self, claim: Claim) -> str:
        job_id, number = claim.task.job.id, claim.task.item.number
        try:
            outcome = self._outcome(claim)
        except NotNow as delay:
            self._ending.wait(delay.pause)
            insist(lambda: self._store.release(job_id, number), self._ending)
            return "queued again"
        insist(lambda: complete(claim.task, outcome, self._store, self._tools.files, self._observer), self._ending)
        return "failed" if outcome.error else "done"

    def _outcome(self, claim: Claim) -> Outcome:
        if claim.losses >= MAX_LOSSES:
            return Outcome.lost(f"{claim.losses} workers were lost while they processed this photo.")
        return process(claim.task, self._tools)

    @contextmanager
    def _reported(self, task: Task) -> Iterator[None]:
        """Report that a photo is in work during the block."""
        thread = threading.get_ident()
        self._running[thread] = task.job.id, task.item.number
        try:
            yield
        finally:
            del self._running[thread]

    def _report(self) -> None:
        while not self._stopped.is_set():
            try:
                self._store.report(self._name, list(self._running.values()))
                waiting = self._store.tasks(KEY_PREFIX + QUEUE)
            except JobsUnavailable:  # logged by the store
                waiting = 0
            if self._stall.is_stalled(waiting, len(self._running)):
                self._end_stalled(waiting)
            self._stopped.wait(REPORT_SECONDS)

    def _end_stalled(self, waiting: int) -> None:
        """Give back the photos in work and end the process; its supervisor starts another one."""
        log.error("jobs.worker_stalled tasks=%d Celery takes none of them; the worker ends", waiting)
        self.drain()
        self._drainer.join()
        end = time.monotonic() + GIVE_BACK_SECONDS
        while self._running and time.monotonic() < end:
            time.sleep(0.1)
        os._exit(1)

    def _end_engines(self) -> None:
        self._pool.stop(self._grace)
