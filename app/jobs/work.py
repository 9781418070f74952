"""Work on one photo of a job, for every backend: read or fetch it, remove its background, write the outputs."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from app.engine.submission import BatchSubmitter, ClientGone, Deadline
from app.errors import InternalError, ModelUnavailable, ServiceError, ShuttingDown
from app.fetch.url_fetcher import UrlFetcher
from app.file_names import EXTENSIONS
from app.imaging.formats import check_image
from app.jobs.description import reference, short_id
from app.jobs.errors import JobsUnavailable, PhotoUnreadable
from app.jobs.model import Item, ItemError, Job, Output
from app.jobs.names import output_path
from app.jobs.store import JobFiles, JobStore, Task
from app.options.parameters import NativeRequest, parse_native
from app.removal import RemovalRequest, RemovalResult
from app.settings import Settings

__all__ = [
    "MAX_LOSSES",
    "SPARE_THREADS",
    "JobObserver",
    "NotNow",
    "Outcome",
    "Tools",
    "complete",
    "discard",
    "insist",
    "parse_variant",
    "process",
]

log = logging.getLogger("app.jobs")

# Seconds until the next attempt at a job whose photo could not be processed for a reason that is not in the photo.
PAUSE_SECONDS = 10.0
# Pause between two attempts to store an outcome.
RETRY_SECONDS = 2.0
# Attempts to read a stored file while the storage works, and seconds between them.
MAX_READS, READ_PAUSE_SECONDS = 3, 1.0
# Number of processes that may end during the work on a photo; then it fails.
MAX_LOSSES = 3
# Threads of a process beyond its engines: a photo waits for an engine while another one's outputs are written.
SPARE_THREADS = 1


class NotNow(Exception):
    """The photo cannot be processed now and must be queued again; `pause` is in seconds until the next attempt.

    `ending` means that this process accepts no further photos.
    """

    def __init__(self, reason: str, *, ending: bool = False) -> None:
        super().__init__(reason)
        self.pause = 0.0 if ending else PAUSE_SECONDS
        self.ending = ending


class JobObserver(Protocol):
    """Counts of events, such as metrics."""

    def job_accepted(self) -> None:
        """Count a stored job."""

    def job_photo_finished(self, outcome: str) -> None:
        """Count a finished photo: done or failed."""

    def webhook_sent(self, outcome: str) -> None:
        """Count an attempt to deliver a webhook: delivered, retried, or abandoned after the last one."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Files, engines, fetcher and settings for the work on photos; `stopped()` ends the wait for an engine."""

    files: JobFiles
    submitter: BatchSubmitter
    url_fetcher: UrlFetcher
    settings: Settings
    stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a photo: its outputs, and the error that made it fail, if any."""

    outputs: tuple[Output, ...] = ()
    error: ItemError | None = None

    @classmethod
    def failed(cls, error: ServiceError, outputs: Sequence[Output] = ()) -> Outcome:
        """Return the outcome of a photo that failed, with the outputs that were made."""
        return cls(tuple(outputs), ItemError.of(error))

    @classmethod
    def lost(cls, message: str) -> Outcome:
        """Return the outcome of a photo during whose work MAX_LOSSES processes have ended."""
        return cls.failed(InternalError(message, solution="Send another photo, or save this one again."))


def process(task: Task, tools: Tools) -> Outcome:
    """Return the outcome of a photo, its outputs written; raise NotNow, and nothing else."""
    started = time.monotonic()
    name = reference(task.job.id, task.item.number)
    try:
        outcome = _outcome(task, tools)
    except (ShuttingDown, ClientGone) as error:
        raise NotNow("the service is shutting down", ending=True) from error
    except (ModelUnavailable, OSError) as error:
        log.warning("job.photo_postponed photo=%s error=%.200r", name, error)
        raise NotNow("the model or the storage cannot be used") from error
    except ServiceError as error:
        outcome = Outcome.failed(error)
    except Exception:  # must not end the thread, nor be tried for ever
        log.exception("job.photo_broken photo=%s", name)
        outcome = Outcome.failed(InternalError())
    code, seconds = outcome.error.code if outcome.error else "-", time.monotonic() - started
    log.info("job.photo_finished photo=%s outputs=%d error=%s s=%.2f", name, len(outcome.outputs), code, seconds)
    return outcome


def complete(task: Task, outcome: Outcome, store: JobStore, files: JobFiles, observer: JobObserver) -> None:
    """Store the outcome of a photo, or delete the outputs of a deleted job; raise JobsUnavailable."""
    if store.finish(task.job.id, task.item.number, outcome.outputs, outcome.error):
        observer.job_photo_finished("failed" if outcome.error else "done")
    elif store.job(task.job.id) is None:
        discard(files, task.job.id)


def discard(files: JobFiles, job_id: str) -> None:
    """Delete the files of a job that is not stored."""
    try:
        files.delete_job(job_id)
    except OSError as error:  # the sweeper tries again
        log.warning("jobs.not_deleted error=%.200r", error)


def insist(change: Callable[[], None], ending: Event) -> None:
    """Repeat a change until the store accepts it, or until this process ends: then another one takes the photo."""
    while True:
        try:
            return change()
        except JobsUnavailable:  # logged by the store
            if ending.wait(RETRY_SECONDS):
                return None


def _outcome(task: Task, tools: Tools) -> Outcome:
    """Return the outcome of a photo; raise the error of all its outputs, or one that is not in the photo."""
    job, item = task.job, task.item
    photo = _photo(item, tools)
    background = _stored(job.background, tools) if job.background else b""
    options = [parse_variant(variant.fields, tools.settings).options for variant in job.variants]
    request = RemovalRequest(photo, options[0], background, reference(job.id, item.number), tuple(options[1:]))
    deadline = Deadline.from_start(tools.settings.request_timeout, tools.stopped)
    results = tools.submitter.submit_all(request, deadline)
    errors = [result for result in results if isinstance(result, ServiceError)]
    for error in errors:
        if isinstance(error, ShuttingDown | ModelUnavailable):
            raise error
    outputs = [
        _written(job, item, number, result, tools.files)
        for number, result in enumerate(results)
        if isinstance(result, RemovalResult)
    ]
    return Outcome.failed(errors[0], outputs) if errors else Outcome(tuple(outputs))


def _photo(item: Item, tools: Tools) -> bytes:
    """Return the bytes of a photo, checked."""
    settings = tools.settings
    if item.url:
        photo = tools.url_fetcher.fetch(item.url, time.monotonic() + settings.request_timeout)
    else:
        photo = _stored(item.key, tools)
    check_image(photo, settings.max_image_bytes)
    return photo


def _stored(key: str, tools: Tools) -> bytes:
    """Return a stored file; raise PhotoUnreadable for an error of this file, OSError if the storage cannot be used.

    The error is of the file if the storage passes its check after each attempt to read the file.
    """
    for attempt in range(1, MAX_READS + 1):
        try:
            return tools.files.read(key)
        except FileNotFoundError:
            raise InternalError("The stored file of the photo is missing.", solution="Send the photo again.") from None
        except OSError as error:
            tools.files.check()
            name = f"{short_id(key)}/{key.rpartition('/')[2]}"
            log.warning("job.photo_unreadable file=%s attempt=%d error=%.200r", name, attempt, error)
        if attempt < MAX_READS:
            time.sleep(READ_PAUSE_SECONDS)
    raise PhotoUnreadable()


def parse_variant(fields: Mapping[str, str], settings: Settings) -> NativeRequest:
    """Parse the native parameters of one output of each photo; raise InvalidParameter."""
    return parse_native(
        fields, models=settings.allowed_models, longest_side=settings.max_dimension, accepted_format="PNG"
    )


def _written(job: Job, item: Item, number: int, result: RemovalResult, files: JobFiles) -> Output:
    """Write a result and return its output.

    Its key contains its hash: a second attempt with another result never replaces a file that has been delivered.
    """
    variant, sha256 = job.variants[number].name, hashlib.sha256(result.body).hexdigest()
    key = f"{job.id}/out-{item.number}-{number + 1}-{sha256[:16]}.{EXTENSIONS[result.mimetype]}"
    with files.create(key) as file:
        file.write(result.body)
    return Output(
        variant=variant,
        path=output_path(job, item.base, variant, result.mimetype),
        key=key,
        mimetype=result.mimetype,
        size=len(result.body),
        sha256=sha256,
        width=result.width,
        height=result.height,
        model=result.model,
        confidence=result.confidence,
    )
