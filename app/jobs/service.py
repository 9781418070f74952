"""Jobs as the HTTP layer uses them: one object for every backend."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from app.engine.submission import BatchSubmitter
from app.errors import NotFound
from app.fetch.url_fetcher import UrlFetcher
from app.jobs.alarm import Alarm
from app.jobs.description import short_id
from app.jobs.errors import IdempotencyConflict, JobsUnavailable
from app.jobs.folder_files import FolderFiles
from app.jobs.local_backend import LocalBackend
from app.jobs.model import Item, Job, NewJob
from app.jobs.names import with_bases
from app.jobs.processes import Processes
from app.jobs.sqlite_store import SqliteStore
from app.jobs.store import JobBackend, JobFiles, JobStore, QueueState
from app.jobs.sweeper import JobSweeper
from app.jobs.webhooks import Webhooks
from app.jobs.work import SPARE_THREADS, JobObserver, Tools, discard
from app.settings import Settings

__all__ = ["DATABASE", "JobService", "open_jobs"]

log = logging.getLogger("app.jobs")

# Maximum seconds for photos in work at a shutdown: SHUTDOWN_GRACE also covers the requests before.
MAX_GRACE = 10.0
DATABASE = "state.db"


class JobService:
    """Jobs of all clients; nothing is opened before the first use.

    `files` takes the photos of a new job, under keys that begin with its `new_id`, before `submit`, which makes them
    durable.
    """

    def __init__(
        self,
        store: JobStore,
        files: JobFiles,
        backend: JobBackend,
        observer: JobObserver,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.files = files
        self._store = store
        self._backend = backend
        self._observer = observer
        self._webhooks = webhooks
        self._sweeper = JobSweeper(store, files)

    def new_id(self) -> str:
        """Return an id for a new job: 128 random bits as 32 hexadecimal digits."""
        return secrets.token_hex(16)

    def check(self) -> None:
        """Raise JobsUnavailable if a job cannot be accepted now; to be called before its photos are read."""
        try:
            self.files.check()
        except OSError as error:
            raise JobsUnavailable() from error
        self._store.queue_state(time.time())

    def submit(self, job: NewJob) -> Job:
        """Store a job, whose photos are in `files`, and have it processed; return it.

        For an idempotency key that its client has used, return the earlier job. Raise IdempotencyConflict if that has
        another digest, JobsUnavailable. The photos are deleted unless the job is new.
        """
        try:
            stored = self._stored(replace(job, items=with_bases(job.items)))
        except JobsUnavailable:
            self.discard(job.id)
            raise
        if stored.id != job.id:
            self.discard(job.id)
            if stored.digest != job.digest:
                raise IdempotencyConflict()
            return stored
        self._backend.submit(stored)
        log.info("job.accepted job=%s photos=%d outputs=%d", short_id(job.id), len(job.items), len(job.variants))
        self._observer.job_accepted()
        return stored

    def _stored(self, job: NewJob) -> Job:
        keys = [item.key for item in job.items if item.key and not item.error]
        try:
            self.files.sync([*keys, job.background] if job.background else keys)
        except OSError as error:
            raise JobsUnavailable() from error
        return self._store.add(job)

    def find(self, job_id: str, owner: str) -> Job:
        """Return a job; raise NotFound for an unknown or deleted one and for that of another owner, JobsUnavailable."""
        job = self._store.job(job_id)
        if job is None or job.owner != owner:
            raise NotFound("No job has this id.", solution="Check the id; jobs are deleted some time after their end.")
        return job

    def jobs_of(self, owner: str) -> Sequence[Job]:
        """Return the jobs of an API key, the newest first; raise JobsUnavailable."""
        return self._store.jobs_of(owner)

    def items(self, job: Job, changed_after: int = -1) -> Sequence[Item]:
        """Return the items of a job in order, or those changed after a version of it; raise JobsUnavailable."""
        return self._store.items(job.id, changed_after)

    def item(self, job: Job, number: int) -> Item:
        """Return one item, the first has number 1; raise NotFound or JobsUnavailable."""
        item = self._store.item(job.id, number)
        if item is None:
            raise NotFound(f"The job has no photo {number}.", solution="The job's 'items' have the numbers.")
        return item

    def delete(self, job: Job) -> None:
        """Cancel and delete a job with its files; raise JobsUnavailable."""
        self._store.delete(job.id)
        self.discard(job.id)

    def discard(self, job_id: str) -> None:
        """Delete the files of a job that is not stored: deleted, or refused during its upload."""
        discard(self.files, job_id)

    def queue_state(self) -> QueueState:
        """Return the state of the queue of all jobs; raise JobsUnavailable."""
        return self._store.queue_state(time.time())

    def waiting(self) -> tuple[int, float, int] | None:
        """Return the number of waiting photos, the age in seconds of the oldest, and the number of living workers.

        None if they are not known.
        """
        try:
            state = self.queue_state()
        except JobsUnavailable:
            return None
        return state.queued, state.oldest_seconds, state.workers

    def up(self) -> bool | None:
        """Return whether jobs can be accepted and processed, None if they can and no other program is needed."""
        return self._backend.up()

    def start(self) -> None:
        """Start the threads; never raises: a backend that is away is tried again."""
        self._backend.start()
        self._sweeper.start()
        if self._webhooks is not None:
            self._webhooks.start()

    def stop(self) -> None:
        """End the threads; photos in work are finished or queued again."""
        if self._webhooks is not None:
            self._webhooks.stop()
        self._sweeper.stop()
        self._backend.stop()
        self._store.close()


def open_jobs(
    settings: Settings, submitter: BatchSubmitter, url_fetcher: UrlFetcher, observer: JobObserver, engines: int
) -> JobService | None:
    """Return the jobs for JOBS_BACKEND, None for `off`; opens nothing."""
    if settings.jobs_backend == "local":
        return _local(settings, submitter, url_fetcher, observer, engines)
    if settings.jobs_backend == "celery":
        return _celery(settings, url_fetcher, observer)
    return None


def _local(
    settings: Settings, submitter: BatchSubmitter, url_fetcher: UrlFetcher, observer: JobObserver, engines: int
) -> JobService:
    folder = settings.jobs_dir
    store, alarm = SqliteStore(folder / DATABASE, settings.jobs_ttl), Alarm("files")
    files, uploads = FolderFiles(folder / "files", alarm), FolderFiles(folder / "files", alarm, durable=False)
    tools = Tools(files, submitter, url_fetcher, settings)
    backend = LocalBackend(
        store,
        files,
        tools,
        Processes(folder / "processes"),
        observer,
        threads=engines + SPARE_THREADS,
        grace=min(settings.shutdown_grace, MAX_GRACE),
    )
    webhooks = _webhooks(settings, store, url_fetcher, observer)
    return JobService(store, uploads, backend, observer, webhooks)


def _celery(settings: Settings, url_fetcher: UrlFetcher, observer: JobObserver) -> JobService:
    # The packages are optional; app.startup has checked that they are installed.
    from app.jobs.celery_backend import CeleryBackend, open_files
    from app.jobs.celery_queue import build_celery
    from app.jobs.redis_store import RedisJobStore
    from app.jobs.shared_folder import WebFolder

    files = open_files(settings.jobs_storage or "", WebFolder)
    store = RedisJobStore(settings.redis_url.get_secret_value(), settings.jobs_ttl)
    backend = CeleryBackend(store, build_celery(settings), files, observer)
    webhooks = _webhooks(settings, store, url_fetcher, observer)
    return JobService(store, files, backend, observer, webhooks)


def _webhooks(settings: Settings, store: JobStore, url_fetcher: UrlFetcher, observer: JobObserver) -> Webhooks | None:
    secret = settings.webhook_secret
    return None if secret is None else Webhooks(store, url_fetcher, secret.get_secret_value(), observer)
