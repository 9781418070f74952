"""Celery backend of web processes and workers: it keeps as many tasks in the queue as photos wait.

The state in Redis says how many wait. Tasks are sent for a new job, and every few seconds for whatever is missing: of a
web process that was killed before it had sent all, of a lost worker, or of a message that got lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from app.jobs.alarm import Alarm
from app.jobs.celery_queue import KEY_PREFIX, QUEUE, TASK
from app.jobs.errors import JobsUnavailable
from app.jobs.folder_files import FolderFiles
from app.jobs.model import Job
from app.jobs.redis_store import RedisJobStore
from app.jobs.store import JobFiles
from app.jobs.work import JobObserver

if TYPE_CHECKING:
    from app.jobs.fsspec_files import FsspecFiles

__all__ = ["CeleryBackend", "open_files"]

# Errors of Celery while Redis is away: no unexpected ones.
AWAY = (OSError, KombuError, RedisError)
# Intervals of looks for missing tasks, of attempts while another process sends, and of checks of the storage.
CHECK_SECONDS, BUSY_SECONDS, STORAGE_SECONDS = 5.0, 0.2, 30.0
# Time after which a process that was killed while it sent no longer prevents others, and the tasks it sends at once.
TURN_SECONDS, MAX_TASKS = 30.0, 2000


class CeleryBackend:
    """A thread that sends tasks; without Redis it tries again.

    In a web process it also checks `files`, and counts for `observer` what workers have finished.
    """

    def __init__(
        self,
        store: RedisJobStore,
        celery: Celery,
        files: JobFiles | None = None,
        observer: JobObserver | None = None,
    ) -> None:
        self._store = store
        self._celery = celery
        self._files = files
        self._observer = observer
        self._tasks, self._storage = Alarm("tasks"), Alarm("storage")
        self._next_check = 0.0
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._sender = threading.Thread(target=self._keep_sending, name="jobs-sender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._sender.start()

    def stop(self) -> None:
        """End the thread; tasks that are not sent yet are sent by another process, or after the next start."""
        self._stopped.set()
        self._wake.set()
        if self._sender.is_alive():
            self._sender.join(BUSY_SECONDS)

    def submit(self, job: Job) -> None:
        """Send the tasks of a stored job, without waiting for it."""
        self._wake.set()

    def up(self) -> bool | None:
        """Return whether Redis and the storage can be used."""
        return self._store.up() and not self._tasks.problem and not self._storage.problem

    def _keep_sending(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            finished = True
            try:
                self._store.measure_memory()
                finished = self._send_missing()
                self._count_finished()
                self._tasks.clear()
            except JobsUnavailable:  # logged by the store
                pass
            except Exception as error:  # noqa: BLE001  # logged once; must not end the thread
                self._tasks.report(f"error={error!r:.200}", None if isinstance(error, AWAY) else error)
            self._check_storage()
            if finished:
                self._wake.wait(CHECK_SECONDS)
            else:
                self._stopped.wait(BUSY_SECONDS)

    def _check_storage(self) -> None:
        """Check the storage now and then; while it cannot be used, each time."""
        if self._files is None or (time.monotonic() < self._next_check and not self._storage.problem):
            return
        try:
            self._files.check()
            self._storage.clear()
        except OSError as error:
            self._storage.report(f"error={error!r:.200}")
        self._next_check = time.monotonic() + STORAGE_SECONDS

    def _count_finished(self) -> None:
        if self._observer is not None:
            for state, number in self._store.take_finished().items():
                for _ in range(number):
                    self._observer.job_photo_finished(state)

    def _send_missing(self) -> bool:
        """Send tasks until there are as many as photos wait; return False if it must be tried again soon."""
        if not self._store.begin_turn("sender", TURN_SECONDS):
            return False
        try:
            missing = self._store.missing_tasks(KEY_PREFIX + QUEUE)
            with self._celery.producer_pool.acquire(block=True) as producer, producer.batch():
                for _ in range(min(missing, MAX_TASKS)):
                    self._celery.send_task(TASK, producer=producer, ignore_result=True, retry=False)
            return missing <= MAX_TASKS
        finally:
            self._store.end_turn("sender")


def open_files(url: str, folder: Callable[[Path], FolderFiles] = FolderFiles) -> FolderFiles | FsspecFiles:
    """Return the files below JOBS_STORAGE: file:///path, opened by `folder`, or a URL of fsspec (s3://bucket)."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return folder(Path(url2pathname(parts.path)))
    from app.jobs.fsspec_files import FsspecFiles  # 20 MB of memory, for S3 alone

    return FsspecFiles(url)
